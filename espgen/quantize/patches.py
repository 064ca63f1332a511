"""The rows a product multiplies by its weights (im2col), sampled, and their covariance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from espgen.ir import Graph, Node


def weight_matrix(node: Node, weights: np.ndarray) -> np.ndarray:
    """Weights as [groups, K inputs, O outputs]."""
    if node.op == "Conv":
        group = int(node.attrs.get("group", 1))
        return np.ascontiguousarray(np.swapaxes(weights.reshape(group, weights.shape[0] // group, -1), 1, 2))
    if node.op == "Gemm" and node.attrs.get("transB", 0):
        return np.ascontiguousarray(weights.T)[None]
    if node.op == "ConvTranspose":
        group = int(node.attrs.get("group", 1))
        grouped = weights.reshape(group, weights.shape[0] // group, weights.shape[1], -1)
        return np.ascontiguousarray(np.moveaxis(grouped, 2, 3).reshape(group, -1, weights.shape[1]))
    return weights.reshape(1, -1, weights.shape[-1])


def weight_tensor(node: Node, matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Inverse of weight_matrix."""
    if node.op == "Conv":
        return np.ascontiguousarray(np.swapaxes(matrix, 1, 2)).reshape(shape)
    if node.op == "Gemm" and node.attrs.get("transB", 0):
        return np.ascontiguousarray(matrix[0].T)
    if node.op == "ConvTranspose":
        group = int(node.attrs.get("group", 1))
        spread = matrix.reshape(group, shape[0] // group, -1, shape[1])
        return np.ascontiguousarray(np.moveaxis(spread, 3, 2)).reshape(shape)
    return matrix.reshape(shape)


def input_rows(graph: Graph, node: Node, read: Callable[[slice], np.ndarray], parts: Sequence[slice], wanted: int,
               random: np.random.Generator) -> np.ndarray | None:  # fmt: skip
    """About `wanted` rows the product sees, float32 [groups, rows, K]; None for operators without a row form.

    `read` gives the input, float32, of the samples of one of `parts`.
    """
    samples = max(part.stop for part in parts)
    rank = len(graph.value(node.inputs[0]).shape)
    if node.op == "Conv" and rank == 4:
        high, wide = graph.value(node.outputs[0]).shape[2:]
        count = min(high * wide, max(1, -(-wanted // samples)))
        place = random.choice(high * wide, count, replace=False)
        return np.concatenate([_convolution_rows(graph, node, read(part), place) for part in parts], axis=1)
    if node.op == "Gemm" and not node.attrs.get("transA", 0):
        return np.concatenate([read(part) for part in parts])[None]
    if node.op == "MatMul" and len(graph.value(node.inputs[1]).shape) == 2:
        rows = np.concatenate([read(part).reshape(-1, graph.value(node.inputs[0]).shape[-1]) for part in parts])
        return rows[:: max(1, len(rows) // wanted)][None]
    return None


def _convolution_rows(graph: Graph, node: Node, data: np.ndarray, place: np.ndarray) -> np.ndarray:
    weights = graph.value(node.inputs[1]).shape
    group = int(node.attrs.get("group", 1))
    wide = graph.value(node.outputs[0]).shape[3]
    strides = tuple(node.attrs.get("strides", (1, 1)))
    dilations = tuple(node.attrs.get("dilations", (1, 1)))
    pads = tuple(node.attrs.get("pads", (0, 0, 0, 0)))
    images = np.arange(len(data))
    rows, columns = place // wide * strides[0] - pads[0], place % wide * strides[1] - pads[1]
    taps = []
    for y in range(weights[2]):
        for x in range(weights[3]):
            down, right = rows + y * dilations[0], columns + x * dilations[1]
            inside = (down >= 0) & (down < data.shape[2]) & (right >= 0) & (right < data.shape[3])
            taken = data[images[:, None], :, np.where(inside, down, 0), np.where(inside, right, 0)]
            taps.append(taken * inside[None, :, None].astype(np.float32))
    stacked = np.stack(taps, axis=-1).reshape(len(data) * len(place), group, -1)
    return np.ascontiguousarray(np.swapaxes(stacked, 0, 1), np.float32)


def covariance(rows: np.ndarray, centred: bool = True) -> np.ndarray:
    """[groups, K, K] covariance of rows [groups, R, K] (second moment where the mean is not taken by a bias)."""
    if centred:
        rows = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(np.swapaxes(rows, 1, 2) @ rows / rows.shape[1], np.float32)
