"""A small convolutional network with its gradients in plain numpy: enough to train the bundled digits model.

Tensors are NCHW float64. Every layer keeps what its backward pass needs from the last forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Layer(Protocol):
    """forward maps a batch [N, ..]; backward maps the output's gradient to the input's and fills `grads`."""

    params: dict[str, Array]
    grads: dict[str, Array]

    def forward(self, x: Array, training: bool) -> Array: ...

    def backward(self, dy: Array) -> Array: ...


@dataclass
class Conv:
    """Convolution without bias (BatchNorm follows), padding (k - 1) / 2; depthwise where `depthwise`."""

    name: str
    channels_in: int
    channels_out: int
    kernel: int
    stride: int = 1
    depthwise: bool = False
    params: dict[str, Array] = field(default_factory=dict)
    grads: dict[str, Array] = field(default_factory=dict)

    def initialize(self, rng: np.random.Generator) -> None:
        """He initialization."""
        per_group = 1 if self.depthwise else self.channels_in
        shape = (self.channels_out, per_group, self.kernel, self.kernel)
        self.params["weight"] = rng.normal(0.0, np.sqrt(2.0 / (per_group * self.kernel**2)), shape)

    @property
    def padding(self) -> int:
        return (self.kernel - 1) // 2

    def forward(self, x: Array, training: bool) -> Array:
        pad = self.padding
        padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        self._padded_shape = padded.shape
        windows = sliding_window_view(padded, (self.kernel, self.kernel), axis=(2, 3))
        self._windows = windows[:, :, :: self.stride, :: self.stride]
        weight = self.params["weight"]
        if self.depthwise:
            return np.einsum("nchwij,cij->nchw", self._windows, weight[:, 0], optimize=True)
        return np.moveaxis(np.tensordot(self._windows, weight, axes=((1, 4, 5), (1, 2, 3))), -1, 1)

    def backward(self, dy: Array) -> Array:
        weight = self.params["weight"]
        if self.depthwise:
            grad = np.einsum("nchwij,nchw->cij", self._windows, dy, optimize=True)[:, None]
            dwindows = np.einsum("nchw,cij->nchwij", dy, weight[:, 0], optimize=True)
        else:
            grad = np.tensordot(dy, self._windows, axes=((0, 2, 3), (0, 2, 3)))
            dwindows = np.moveaxis(np.tensordot(dy, weight, axes=((1,), (0,))), 3, 1)
        self.grads["weight"] = grad
        dx = np.zeros(self._padded_shape)
        rows, columns = dy.shape[2:]
        for i in range(self.kernel):
            for j in range(self.kernel):
                down = slice(i, i + self.stride * rows, self.stride)
                across = slice(j, j + self.stride * columns, self.stride)
                dx[:, :, down, across] += dwindows[..., i, j]
        pad = self.padding
        return dx[:, :, pad : dx.shape[2] - pad, pad : dx.shape[3] - pad]


@dataclass
class BatchNorm:
    """Batch normalization over N, H, W with running statistics (momentum 0.9)."""

    name: str
    channels: int
    epsilon: float = 1e-5
    params: dict[str, Array] = field(default_factory=dict)
    grads: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.params = {"gamma": np.ones(self.channels), "beta": np.zeros(self.channels)}
        self.mean, self.variance = np.zeros(self.channels), np.ones(self.channels)

    def forward(self, x: Array, training: bool) -> Array:
        mean, variance = self.mean, self.variance
        if training:
            mean, variance = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
            self.mean = 0.9 * self.mean + 0.1 * mean
            self.variance = 0.9 * self.variance + 0.1 * variance
        self._inverse = 1.0 / np.sqrt(variance + self.epsilon)
        self._normal = (x - mean[:, None, None]) * self._inverse[:, None, None]
        return self._normal * self.params["gamma"][:, None, None] + self.params["beta"][:, None, None]

    def backward(self, dy: Array) -> Array:
        self.grads["gamma"] = (dy * self._normal).sum(axis=(0, 2, 3))
        self.grads["beta"] = dy.sum(axis=(0, 2, 3))
        count = dy.shape[0] * dy.shape[2] * dy.shape[3]
        centred = dy - (self.grads["beta"] / count)[:, None, None]
        centred -= self._normal * (self.grads["gamma"] / count)[:, None, None]
        return centred * (self.params["gamma"] * self._inverse)[:, None, None]


@dataclass
class Relu:
    """max(x, 0)."""

    name: str
    params: dict[str, Array] = field(default_factory=dict)
    grads: dict[str, Array] = field(default_factory=dict)

    def forward(self, x: Array, training: bool) -> Array:
        self._positive = x > 0
        return x * self._positive

    def backward(self, dy: Array) -> Array:
        return dy * self._positive


@dataclass
class Residual:
    """x + f(x)."""

    name: str
    body: list[Layer]
    params: dict[str, Array] = field(default_factory=dict)
    grads: dict[str, Array] = field(default_factory=dict)

    def forward(self, x: Array, training: bool) -> Array:
        y = x
        for layer in self.body:
            y = layer.forward(y, training)
        return x + y

    def backward(self, dy: Array) -> Array:
        dx = dy
        for layer in reversed(self.body):
            dx = layer.backward(dx)
        return dx + dy


@dataclass
class PooledDense:
    """Global average pooling and a dense layer: [N, C, H, W] to logits [N, classes]."""

    name: str
    channels: int
    classes: int
    params: dict[str, Array] = field(default_factory=dict)
    grads: dict[str, Array] = field(default_factory=dict)

    def initialize(self, rng: np.random.Generator) -> None:
        self.params["weight"] = rng.normal(0.0, np.sqrt(1.0 / self.channels), (self.classes, self.channels))
        self.params["bias"] = np.zeros(self.classes)

    def forward(self, x: Array, training: bool) -> Array:
        self._shape = x.shape
        self._pooled = x.mean(axis=(2, 3))
        return self._pooled @ self.params["weight"].T + self.params["bias"]

    def backward(self, dy: Array) -> Array:
        self.grads["weight"], self.grads["bias"] = dy.T @ self._pooled, dy.sum(axis=0)
        share = (dy @ self.params["weight"]) / (self._shape[2] * self._shape[3])
        return np.broadcast_to(share[:, :, None, None], self._shape)


def digits_network() -> list[Layer]:
    """8x8x1 pixels to 10 logits: stem, strided separable block, residual separable block, pooling, dense."""
    return [
        Conv("stem", 1, 16, 3), BatchNorm("stem_bn", 16), Relu("stem_relu"),
        Conv("down_dw", 16, 16, 3, 2, depthwise=True), BatchNorm("down_dw_bn", 16), Relu("down_dw_relu"),
        Conv("down_pw", 16, 32, 1), BatchNorm("down_pw_bn", 32), Relu("down_pw_relu"),
        Residual("block", [
            Conv("block_dw", 32, 32, 3, depthwise=True), BatchNorm("block_dw_bn", 32), Relu("block_dw_relu"),
            Conv("block_pw", 32, 32, 1), BatchNorm("block_pw_bn", 32),
        ]),
        Relu("block_relu"),
        PooledDense("head", 32, 10),
    ]  # fmt: skip


def flatten(layers: list[Layer]) -> list[Layer]:
    """All layers, those inside residual blocks included, in order of computation."""
    flat: list[Layer] = []
    for layer in layers:
        flat += [*flatten(layer.body), layer] if isinstance(layer, Residual) else [layer]
    return flat


def predict(layers: list[Layer], images: Array) -> Array:
    """Logits [N, 10] of images [N, 1, 8, 8]."""
    for layer in layers:
        images = layer.forward(images, training=False)
    return images
