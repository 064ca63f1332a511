"""Small .espdl networks that together hold every operator the reader knows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from espdl_files import File, packed, value

RNG = np.random.default_rng(3)


def random(shape: Sequence[int], dtype: str = "int8") -> np.ndarray:
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max, tuple(shape), dtype, endpoint=True)


def integers(file: File, name: str, items: Sequence[int]) -> None:
    file.constant(name, np.array(items, np.int64))


def convolution(file: File, x: str, output: str, shape: Sequence[int], channels: int, exponent: int, dtype: str = "int8",
                **attrs: object) -> None:  # fmt: skip
    """A convolution of one pixel with its bias and one exponent per channel."""
    align, name = 16 // np.dtype(dtype).itemsize, f"{output}_w"
    exponents = [-6 - index % 3 for index in range(shape[-1])]
    file.constant(name, packed(random((shape[-1], channels, 1, 1), dtype), align), (1, 1, channels, shape[-1]), exponents)
    wide = np.int64 if dtype == "int16" else np.int32
    file.constant(f"{output}_b", RNG.integers(-999, 999, shape[-1]).astype(wide), exponents=[item - 4 for item in exponents])
    file.node("Conv", f"{x} {name} {output}_b", output, shape, exponent, dtype, group=1, kernel_shape=(1, 1), **attrs)


def images(dtype: str) -> tuple[File, tuple[str, ...]]:
    """Convolutions, pools and what belongs to images."""
    file = File()
    file.input("x", (1, 8, 8, 5), -4, dtype)
    convolution(file, "x", "c", (1, 8, 8, 20), 5, -2, dtype, activation="Relu")
    align = 16 // np.dtype(dtype).itemsize
    file.constant("dw", packed(random((20, 1, 3, 3), dtype), align, True), (3, 3, 20, 1), [-7])
    file.node("Conv", "c dw", "d", (1, 8, 8, 20), -1, dtype, group=20, kernel_shape=(3, 3), pads=(1, 1, 1, 1))
    file.node("MaxPool", "d", "p", (1, 4, 4, 20), -1, dtype, kernel_shape=(2, 2), strides=(2, 2), pads=(0, 0, 0, 0), ceil_mode=0)
    file.node("AveragePool", "d", "a", (1, 4, 4, 20), -1, dtype, kernel_shape=(2, 2), strides=(2, 2), pads=(0, 0, 0, 0),
              count_include_pad=1)  # fmt: skip
    file.node("Add", "p a", "s", (1, 4, 4, 20), -1, dtype)
    file.constant("scales", np.float32([1, 1, 2, 2]))
    file.node("Resize", "s - scales", "r", (1, 8, 8, 20), -1, dtype, mode="nearest", nearest_mode="floor",
              coordinate_transformation_mode="asymmetric")  # fmt: skip
    file.node("RequantizeLinear", "c", "q", (1, 8, 8, 20), -1, dtype)
    file.node("Concat", "r q", "k", (1, 8, 8, 40), -1, dtype, axis=3)
    file.node("GlobalAveragePool", "k", "g", (1, 1, 1, 40), -3, dtype)
    file.node("SpaceToDepth", "k", "e", (1, 4, 4, 160), -1, dtype, blocksize=2)
    file.node("DepthToSpace", "e", "f", (1, 8, 8, 40), -1, dtype, blocksize=2, mode="CRD")
    file.node("GlobalMaxPool", "f", "h", (1, 1, 1, 40), -1, dtype)
    file.constant("slope", random((40, 1, 1), dtype), exponents=[-6])
    file.node("PRelu", "f slope", "m", (1, 8, 8, 40), -1, dtype)
    return file, ("g", "h", "m")


def transposed() -> tuple[File, tuple[str, ...]]:
    file = File()
    file.input("x", (1, 4, 4, 5), -4)
    file.node("InsertZeros", "x", "z", (1, 7, 7, 5), -3, stride=(2, 2), output_padding=(0, 0))
    file.constant("w", packed(random((18, 5, 2, 2)), 16), (2, 2, 5, 18), [-6])
    file.node("Conv", "z w", "y", (1, 8, 8, 18), -2, group=1, kernel_shape=(2, 2), pads=(1, 1, 1, 1))
    return file, ("y",)


def functions() -> tuple[File, tuple[str, ...]]:
    """Tables, functions without one, and operators of two operands."""
    file = File()
    file.input("x", (1, 6, 6, 4), -5)
    file.input("v", (1, 6, 6, 4), -12, "int16")
    file.constant("t", random((256,)))
    file.constant("u", random((257,), "int16"))
    shape = (1, 6, 6, 4)
    outputs = ["t_LUT", "u_LUT", "divided"]
    file.node("LUT", "x", "t_LUT", shape, -7, lut="t")
    file.node("LUT", "v", "u_LUT", shape, -12, "int16", lut="u")
    for op in ("Elu", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Neg", "Relu", "Sigmoid", "Swish", "Tanh"):
        file.node(op, "x", op, shape, -5)
        outputs.append(op)
    for op in ("Log", "Sqrt"):
        file.node(op, "Relu", op, shape, -5)
        outputs.append(op)
    file.node("Clip", "x", "clipped", shape, -5, min=-1.0, max=1.5)
    file.constant("power", np.float32([2.0]))
    file.constant("by", np.int8([3, 5, 7, 9]).reshape(1, 1, 1, 4), exponents=[-2])
    file.node("Pow", "x power", "squared", shape, -2)
    for op in ("Mul", "Sub"):
        file.node(op, "clipped squared", f"of_{op}", shape, -3)
        outputs.append(f"of_{op}")
    file.node("Div", "x by", "divided", shape, -4)
    return file, tuple(outputs)


def shapes() -> tuple[File, tuple[str, ...]]:
    """Movements, sums along axes, and Softmax in floating point."""
    file = File()
    file.input("x", (1, 4, 6, 8), -4)
    convolution(file, "x", "c", (1, 4, 6, 8), 8, -2)
    for name, items in (
        ("starts", [1, 2]), ("ends", [3, 6]), ("axes", [1, 3]), ("steps", [1, 2]), ("space", [1, 2]), ("sizes", [2, 4]),
        ("shape", [1, 8, 24]), ("first", [0]), ("pads", [0, 1, 0, 2]), ("pad_axes", [1, 2]), ("places", [3, 0, 1]),
    ):  # fmt: skip
        integers(file, name, items)
    file.node("Identity", "c", "i", (1, 4, 6, 8), -2)
    file.node("Slice", "i starts ends axes steps", "slice", (1, 2, 6, 2), -2)
    file.node("Pad", "c pads - pad_axes", "pad", (1, 4, 9, 8), -2, mode="constant")
    file.node("Gather", "c places", "gather", (1, 4, 6, 3), -2, axis=3)
    for op in ("Max", "Mean", "Min", "Sum"):
        file.node(f"Reduce{op}", "c space", f"of_{op}", (1, 8), 2, keepdims=0)
    file.node("Transpose", "c", "t", (1, 8, 4, 6), -2, perm=(0, -1, 1, 2))
    file.node("Reshape", "t shape", "r", (1, 8, 24), -2)
    file.node("Squeeze", "r first", "squeezed", (8, 24), -2)
    file.node("Unsqueeze", "squeezed first", "unsqueezed", (1, 8, 24), -2)
    file.node("Flatten", "unsqueezed", "flat", (1, 192), -2, axis=1)
    file.constant("w", packed(random((10, 192)), 16), (1, 1, 192, 10), [-9])
    file.node("Gemm", "flat w", "gemm", (1, 10), 0, transB=0, alpha=1.0, beta=1.0, activation="Relu")
    file.node("Softmax", "gemm", "probabilities", (1, 10), 0, "float32", axis=-1)
    file.node("QuantizeLinear", "probabilities", "y", (1, 10), -7)
    file.node("DequantizeLinear", "flat", "real", (1, 192), 0, "float32")
    file.node("QuantizeLinear", "real", "again", (1, 192), -1)
    file.node("Split", "c sizes", "left", (1, 4, 2, 8), -2, axis=2)
    file.nodes[-1]["output"].append("right")
    file.values["right"] = value("right", (1, 4, 4, 8), -2)
    return file, ("slice", "pad", "gather", "of_Max", "of_Mean", "of_Min", "of_Sum", "y", "again", "left", "right")


def products() -> tuple[File, tuple[str, ...]]:
    """MatMul by a constant and by a value that is packed at run time."""
    file = File()
    file.input("a", (2, 5, 12), 0)
    file.input("b", (2, 20, 12), 0)
    operand = packing(file, "b", (2, 20, 12), 16)
    file.node("MatMul", f"a {operand}", "m", (2, 5, 20), 6, activation="Linear")
    file.constant("w", packed(random((7, 20)), 16), (20, 7), [-7])
    file.node("MatMul", "m w", "y", (2, 5, 7), 6, activation="Relu")
    return file, ("y",)


def packing(file: File, name: str, shape: tuple[int, ...], align: int) -> str:
    """ESP-PPQ's nodes that turn matrices [.., N, K] into packed ones of [.., K, N]: the name of their result."""
    *outer, n, k = shape
    full, rank = n // align * align, len(shape)
    axes = list(range(len(outer)))

    def cut(start: int, end: int, part: str) -> str:
        for key, items in (("s", [0] * (rank - 2) + [start, 0]), ("e", [*outer, end, k]), ("a", range(rank)), ("t", [1] * rank)):
            integers(file, f"{part}_{key}", list(items))
        file.node("Slice", f"{name} {part}_s {part}_e {part}_a {part}_t", part, (*outer, end - start, k))
        return part

    def shaped(source: str, target: tuple[int, ...], part: str) -> str:
        integers(file, f"{part}_shape", target)
        file.node("Reshape", f"{source} {part}_shape", part, target)
        return part

    blocks = cut(0, full, "full") if full < n else name
    blocks = shaped(blocks, (*outer, full // align, align, k), "blocks")
    file.node("Transpose", blocks, "turned", (*outer, full // align, k, align), perm=(*axes, -3, -1, -2))
    whole = shaped("turned", (*outer, full, k), "whole")
    if full < n:
        file.node("Concat", f"{whole} {cut(full, n, 'rest')}", "both", shape, axis=rank - 2)
        whole = "both"
    return shaped(whole, (*outer, k, n), "packed")


def examples() -> dict[str, tuple[File, tuple[str, ...]]]:
    """Name -> file and its outputs."""
    return {
        "images": images("int8"), "images_of_16_bits": images("int16"), "transposed": transposed(), "functions": functions(),
        "shapes": shapes(), "products": products(),
    }  # fmt: skip
