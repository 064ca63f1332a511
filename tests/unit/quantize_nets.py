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


def uneven_channels(seed: int = 11) -> Graph:
    """MobileNet blocks with ReLU6 whose channels differ a thousandfold: those below the bound are rescaled, the next layer
    undoes it."""
    net = Net((1, 3, 16, 16), seed)
    net.conv(16, 3, 2)
    net.relu6()
    tensors = []
    for channels, stride in ((24, 1), (32, 2), (32, 1), (48, 1)):
        tensors.append(net.last)
        net.conv(net.shape[1], 3, stride, depthwise=True)
        net.relu6()
        tensors.append(net.last)
        net.conv(channels, 1)
        net.relu6()
    net.head(10, gain=4.0)
    graph = net.graph().updated(outputs=tuple(tensors))
    peaks = run_float(graph, {"input": images(48, (3, 16, 16), seed=9)})
    makers = {net.nodes[index + 1].outputs[0]: node for index, node in enumerate(net.nodes[:-1]) if node.op == "Conv"}
    readers = {node.inputs[0]: node for node in net.nodes if node.op == "Conv"}
    for name in tensors:
        highest = peaks[name].max(axis=(0, 2, 3))
        wanted = 10.0 ** net.random.normal(0.0, 0.8, highest.size)
        scale = np.where(highest < 5.9, np.minimum(wanted, np.maximum(5.5 / np.maximum(highest, 1e-3), 1.0)), 1.0)
        weights, bias = makers[name].inputs[1:]
        net.constants[weights] = (net.constants[weights] * scale[:, None, None, None]).astype(np.float32)
        net.constants[bias] = (net.constants[bias] * scale).astype(np.float32)
        reader = readers[name]
        shape = (-1, 1, 1, 1) if reader.attrs["group"] > 1 else (1, -1, 1, 1)
        net.constants[reader.inputs[1]] = (net.constants[reader.inputs[1]] / scale.reshape(shape)).astype(np.float32)
    return net.graph()


HARD = {
    "spread_variances": spread_variances,
    "outlier_channels": outlier_channels,
    "loud_logits": loud_logits,
    "uneven_channels": uneven_channels,
}


def operator_zoo(seed: int = 2) -> Graph:
    """One of almost everything: gates, sums, products of tensors, pools, Concat, Transpose, MatMul with a bias behind it."""
    net = Net((1, 3, 16, 16), seed)
    net.conv(16, 3, 2)
    data = net.add("HardSwish", (net.last,), net.shape)
    net.add("GlobalAveragePool", (data,), (1, 16, 1, 1))
    net.conv(4)
    net.relu()
    net.conv(16)
    gate = net.add("HardSigmoid", (net.last,), net.shape, alpha=1 / 6, beta=0.5)
    scaled = net.add("Mul", (data, gate), net.values[data].shape)
    net.conv(16)
    other = net.add("Sigmoid", (net.last,), net.shape)
    net.add("Concat", (scaled, other), (1, 32, 8, 8), axis=1)
    window = {"kernel_shape": (2, 2), "strides": (2, 2), "pads": (0, 0, 0, 0), "ceil_mode": 0}
    net.add("MaxPool", (net.last,), (1, 32, 4, 4), dilations=(1, 1), **window)
    net.conv(24, 3)
    trunk = net.add("LeakyRelu", (net.last,), net.shape, alpha=0.13)
    net.conv(24)
    net.add("Tanh", (net.last,), net.shape)
    net.add("Sub", (trunk, net.last), net.shape)
    net.add("AveragePool", (net.last,), (1, 24, 2, 2), count_include_pad=0, **window)
    net.add("Transpose", (net.last,), (1, 2, 2, 24), perm=(0, 2, 3, 1))
    net.add("Reshape", (net.last,), (1, 96))
    net.add("MatMul", (net.last, net.constant("wm", net.random.normal(0, 0.1, (96, 20)))), (1, 20))
    net.add("Add", (net.last, net.constant("bm", net.random.normal(0, 0.1, 20))), (1, 20))
    net.add("Clip", (net.last,), (1, 20), min=-1.5, max=1.5)
    weights = net.constant("wg", net.random.normal(0, 0.5, (20, 7)))
    net.add("Gemm", (net.last, weights), (1, 7), alpha=1.0, beta=1.0, transA=0, transB=0)
    net.add("Softmax", (net.last,), (1, 7), axis=1)
    return net.graph()


def upsampling(seed: int = 4) -> Graph:
    """Resize, ConvTranspose and ReduceMean; cannot run in batches."""
    net = Net((1, 3, 16, 16), seed)
    net.conv(8, 3, 2)
    net.relu()
    nearest = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    net.add("Resize", (net.last,), (1, 8, 16, 16), mode="nearest", scales=(1.0, 1.0, 2.0, 2.0), sizes=(1, 8, 16, 16), **nearest)
    net.conv(8, 3)
    weights = net.constant("wt", net.random.normal(0, 0.3, (8, 6, 2, 2)))
    operands = (net.last, weights, net.constant("bt", net.random.normal(0, 0.3, 6)))
    window = {"kernel_shape": (2, 2), "strides": (2, 2), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
    net.add("ConvTranspose", operands, (1, 6, 32, 32), group=1, output_padding=(0, 0), **window)
    half = {"scales": (1.0, 1.0, 0.5, 0.5), "sizes": (1, 6, 16, 16), "coordinate_transformation_mode": "half_pixel"}
    net.add("Resize", (net.last,), (1, 6, 16, 16), mode="linear", **half)
    net.add("ReduceMean", (net.last,), (1, 6, 1, 1), axes=(2, 3), keepdims=1)
    return net.graph()
