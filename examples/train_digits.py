"""Train the bundled digits model and write it in float and in QDQ form.

    pip install 'espgen[examples]'
    python examples/train_digits.py espgen/models

Data: the 1,797 handwritten digits of scikit-learn (UCI ML hand-written digits, 8x8 pixels of 0..16), one
fifth held out for testing. Writes digits_float.onnx, digits_int8_qdq.onnx and digits_test.npz.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
from digits_net import Array, BatchNorm, Conv, Layer, PooledDense, digits_network, flatten, predict
from digits_onnx import float_model, qdq_model
from sklearn.datasets import load_digits

TEST_SAMPLES = 360


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the bundled digits model.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 1, 8, 8)
    order = np.random.default_rng(0).permutation(len(images))
    test, train = order[:TEST_SAMPLES], order[TEST_SAMPLES:]
    layers = digits_network()
    fit(layers, images[train], labels[train], arguments.epochs, rng)
    accuracy = np.mean(predict(layers, images[test]).argmax(axis=1) == labels[test])
    print(f"test accuracy {accuracy:.4f}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    onnx.save(float_model(layers), arguments.folder / "digits_float.onnx")
    onnx.save(qdq_model(layers, images[train]), arguments.folder / "digits_int8_qdq.onnx")
    pixels = images[test].astype(np.float32)
    np.savez_compressed(arguments.folder / "digits_test.npz", image=pixels, y=labels[test].astype(np.int64))


def fit(
    layers: list[Layer], images: Array, labels: np.ndarray, epochs: int, rng: np.random.Generator
) -> None:
    """Adam with a cosine learning rate on cross-entropy; images are shifted by up to one pixel."""
    flat = flatten(layers)
    for layer in flat:
        if isinstance(layer, Conv | PooledDense):
            layer.initialize(rng)
    moments: Moments = {}
    batch, step, steps = 64, 0, epochs * (len(images) // 64)
    for epoch in range(epochs):
        order, total = rng.permutation(len(images)), 0.0
        for start in range(0, len(order) - batch + 1, batch):
            index = order[start : start + batch]
            total += gradients(layers, shifted(images[index], rng), labels[index])
            step += 1
            rate = 0.005 * (1 + np.cos(np.pi * step / steps)) + 1e-5
            adam(flat, moments, rate, step)
        print(f"epoch {epoch + 1:3d} loss {total / (len(order) // batch):.4f}", flush=True)


def shifted(images: Array, rng: np.random.Generator) -> Array:
    """The images, each moved by -1, 0 or 1 pixels in both directions."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    offsets = rng.choice(3, size=(len(images), 2), p=(0.2, 0.6, 0.2))
    return np.stack([image[:, i : i + 8, j : j + 8] for image, (i, j) in zip(padded, offsets, strict=True)])


def gradients(layers: list[Layer], images: Array, labels: np.ndarray) -> float:
    """Cross-entropy of one batch; fills every layer's gradients."""
    values = images
    for layer in layers:
        values = layer.forward(values, training=True)
    values = values - values.max(axis=1, keepdims=True)
    log_probability = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
    rows = np.arange(len(labels))
    gradient = np.exp(log_probability)
    gradient[rows, labels] -= 1.0
    gradient /= len(labels)
    for layer in reversed(layers):
        gradient = layer.backward(gradient)
    return float(-log_probability[rows, labels].mean())


Moments = dict[tuple[str, str], tuple[Array, Array]]


def adam(flat: list[Layer], moments: Moments, rate: float, step: int) -> None:
    """One Adam step with decoupled weight decay (Loshchilov and Hutter 2019) on weights only."""
    for layer in flat:
        for key, value in layer.params.items():
            gradient = layer.grads[key]
            first, second = moments.get((layer.name, key), (np.zeros_like(value), np.zeros_like(value)))
            first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
            moments[layer.name, key] = first, second
            update = (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
            decay = 0.0 if isinstance(layer, BatchNorm) or key == "bias" else 0.01
            layer.params[key] = value - rate * (update + decay * value)


if __name__ == "__main__":
    main()
