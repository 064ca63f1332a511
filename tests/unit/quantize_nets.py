"""Small float networks that are hard to quantize, and data for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from espgen.ir import DType, Graph, Node, Value, constant_value
from espgen.quantize.pipeline import run_float


class Net:
    """Builds a float graph node by node; NCHW, batch 1."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.values: dict[str, Value] = {"input": Value("input", shape, DType.FLOAT32)}
        self.constants: dict[str, np.ndarray] = {}
        self.nodes: list[Node] = []
        self.last = "input"

    def constant(self, name: str, data: np.ndarray) -> str:
        self.constants[name] = np.asarray(data, np.float32)
        self.values[name] = constant_value(name, self.constants[name])
        return name

    def add(self, op: str, inputs: tuple[str, ...], shape: tuple[int, ...], **attrs: Any) -> str:
        index = len(self.nodes)
        output = f"v{index}"
        self.nodes.append(Node(f"{op}_{index}", op, inputs, (output,), attrs))
        self.values[output] = Value(output, shape, DType.FLOAT32)
        self.last = output
        return output

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values[self.last].shape

    def conv(self, channels: int, kernel: int = 1, stride: int = 1, depthwise: bool = False, bias: bool = True) -> str:
        _, before, high, wide = self.shape
        group = before if depthwise else 1
        fan = (before // group) * kernel * kernel
        index = len(self.nodes)
        weights = self.random.normal(0, 1.4 / np.sqrt(fan), (channels, before // group, kernel, kernel))
        inputs = [self.last, self.constant(f"w{index}", weights)]
        if bias:
            inputs.append(self.constant(f"b{index}", self.random.normal(0, 0.1, channels)))
        pad = kernel // 2
        return self.add(
            "Conv", tuple(inputs), (1, channels, -(-high // stride), -(-wide // stride)), group=group,
            kernel_shape=(kernel, kernel), strides=(stride, stride), dilations=(1, 1), pads=(pad, pad, pad, pad),
        )  # fmt: skip

    def batch_norm(self, spread: float) -> str:
        """Real statistics of what the layer in front computes, after giving its channels gains over `spread` decades.

        Some channels are all but dead, as in trained networks.
        """
        channels = self.shape[1]
        index = len(self.nodes)
        weights = self.nodes[-1].inputs[1]
        gains = 10.0 ** self.random.uniform(-spread, 0.0, channels)
        gains[:: max(channels // 3, 1)] *= 1e-4
        self.constants[weights] = (self.constants[weights] * gains[:, None, None, None]).astype(np.float32)
        real = self.measure()
        gamma = self.random.uniform(0.3, 1.5, channels) * 10.0 ** self.random.uniform(-0.4 * spread, 0.2, channels)
        data = {
            "gamma": gamma,
            "beta": self.random.normal(0.2, 0.5, channels) * gamma,
            "mean": real.mean(axis=(0, 2, 3)),
            "var": real.var(axis=(0, 2, 3)),
        }
        names = [self.constant(f"{key}{index}", value) for key, value in data.items()]
        return self.add("BatchNormalization", (self.last, *names), self.shape, epsilon=1e-9)

    def measure(self) -> np.ndarray:
        """The last value over some images."""
        return run_float(self.graph(), {"input": images(48, self.values["input"].shape[1:], seed=9)})[self.last]

    def relu(self) -> str:
        return self.add("Relu", (self.last,), self.shape)

    def relu6(self) -> str:
        return self.add("Clip", (self.last,), self.shape, min=0.0, max=6.0)

    def head(self, classes: int, gain: float = 1.0, softmax: bool = False) -> str:
        channels = self.shape[1]
        self.add("GlobalAveragePool", (self.last,), (1, channels, 1, 1))
        self.add("Reshape", (self.last,), (1, channels))
        index = len(self.nodes)
        weights = self.constant(f"w{index}", self.random.normal(0, gain / np.sqrt(channels), (classes, channels)))
        bias = self.constant(f"b{index}", self.random.normal(0, 0.1, classes))
        self.add("Gemm", (self.last, weights, bias), (1, classes), alpha=1.0, beta=1.0, transA=0, transB=1)
        # Centred logits: what tells the classes apart is what counts.
        self.constants[bias] = (self.constants[bias] - self.measure().mean(axis=0)).astype(np.float32)
        if softmax:
            self.add("Softmax", (self.last,), (1, classes), axis=1)
        return self.last

    def graph(self) -> Graph:
        return Graph("net", ("input",), (self.last,), tuple(self.nodes), self.values, self.constants)


def images(count: int, shape: tuple[int, ...] = (3, 16, 16), seed: int = 1) -> np.ndarray:
    """Smooth random images in -1..1, float32 [count, *shape]."""
    random = np.random.default_rng(seed)
    coarse = random.normal(0, 1, (count, shape[0], shape[1] // 4, shape[2] // 4))
    fine = np.kron(coarse, np.ones((1, 1, 4, 4))) + 0.3 * random.normal(0, 1, (count, *shape))
    return np.tanh(fine * random.uniform(0.3, 1.5, (count, 1, 1, 1))).astype(np.float32)


def spread_variances(seed: int = 0) -> Graph:
    """Unfolded BatchNormalization with widely spread variances, ReLU6 and depthwise convolutions."""
    net = Net((1, 3, 16, 16), seed)
    net.conv(16, 3, 2, bias=False)
    net.batch_norm(1.5)
    net.relu6()
    for channels, stride in ((24, 1), (32, 2), (32, 1)):
        net.conv(net.shape[1], 3, stride, depthwise=True, bias=False)
        net.batch_norm(1.5)
        net.relu6()
        net.conv(channels, 1, bias=False)
        net.batch_norm(1.5)
        net.relu6()
    net.head(10, gain=4.0)
    return net.graph()


def outlier_channels(seed: int = 3) -> Graph:
    """A residual net with Relu whose bottleneck holds a few channels far above the rest, which the next layer nearly ignores."""
    net = Net((1, 3, 16, 16), seed)
    net.conv(12, 3, 2)
    trunk = net.last
    for _ in range(2):
        net.last = trunk
        net.conv(24)
        expand = net.nodes[-1]
        net.relu()
        net.conv(24, 3, depthwise=True)
        net.relu()
        net.conv(12)
        project = net.nodes[-1]
        net.constants[project.inputs[1]][:2] *= 40.0
        net.constants[expand.inputs[1]][:, :2] *= 0.01
        trunk = net.add("Add", (trunk, net.last), net.shape)
    net.conv(32)
    net.constants[net.nodes[-1].inputs[1]][:, :2] *= 0.01
    net.relu()
    net.head(10, gain=3.0)
    return net.graph()


def loud_logits(seed: int = 5) -> Graph:
    """Logits that reach far beyond 16, in front of a Softmax."""
    net = Net((1, 3, 16, 16), seed)
    net.conv(16, 3, 2)
    net.relu()
    net.conv(24, 3, 2)
    net.relu()
    net.head(8, gain=60.0, softmax=True)
    return net.graph()


HARD = {"spread_variances": spread_variances, "outlier_channels": outlier_channels, "loud_logits": loud_logits}
