"""Post-training quantization compared: espgen's recipes and schemes against onnxruntime's quantize_static.

    ESPGEN_DATA=/path/to/data python benchmarks/quantizer.py [--models kws,resnet8] [--schemes shift,esp-dl] [--ort] [--splits 5]

Per model: top-1 / agreement with the float model / error (mean |q - f|^2 / |f|^2 of the outputs), in percent, of the
exported QDQ model under onnxruntime with optimizations off, on samples that were not used for calibration; wall and CPU
seconds of the quantization. Few samples make agreement jump: with --splits N every figure is the mean over N random splits
into calibration and test samples, and --mirror also tests each picture seen in a mirror.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from espgen.frontend import load_onnx
from espgen.ir import Graph
from espgen.quantize.exporter import float_model
from espgen.quantize.imports import strip_qdq
from espgen.quantize.model import Scheme
from espgen.quantize.pipeline import Fidelity, compare_outputs, fidelity, run_float
from espgen.quantize.recipes import run_recipe
from espgen.quantize.runtime import Session
from espgen.quantize.settings import Settings

SEED = 7


@dataclass(frozen=True)
class Case:
    """A float network with calibration and test samples."""

    graph: Graph
    calibration: np.ndarray
    test: np.ndarray
    labels: np.ndarray


def _split(graph: Graph, x: np.ndarray, labels: np.ndarray, count: int, seed: int) -> Case:
    order = np.random.default_rng(seed).permutation(len(x))
    x, labels = np.ascontiguousarray(x[order], np.float32), labels[order]
    return Case(graph, x[:count], x[count:], labels[count:])


def kws(data: Path, count: int, seed: int) -> Case:
    """DS-CNN keyword spotting, unfolded BatchNormalization."""
    file = np.load(data / "kws" / "kws01_500.npz")
    x = ((file["x_int8"].astype(np.float32) - 83) * np.float32(0.5847029))[:, None]
    return _split(load_onnx(data / "kws" / "kws_dscnn_float_bn.onnx"), x, file["y"], count or 256, seed)


def resnet8(data: Path, count: int, seed: int) -> Case:
    """ResNet-8 on CIFAR-10."""
    file = np.load(data / "ic" / "cifar10_500.npz")
    x = file["x_uint8_nhwc"].transpose(0, 3, 1, 2).astype(np.float32)
    return _split(load_onnx(data / "ic" / "resnet8_float_bn.onnx"), x, file["y"], count or 256, seed)


def _images(data: Path) -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image

    files = sorted((data / "imagenet" / "jpeg").glob("*.jpg"))
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    return pixels.transpose(0, 3, 1, 2).astype(np.float32), np.array([int(file.name[:3]) for file in files])


def mobilenet_v2(data: Path, count: int, seed: int) -> Case:
    """MobileNetV2 with ReLU6."""
    x, labels = _images(data)
    return _split(load_onnx(data / "mobilenet" / "mobilenet_v2_1.0_224_float.onnx"), (x - 128) / 128, labels, count or 60, seed)


def mobilenet_v2_outliers(data: Path, count: int, seed: int) -> Case:
    """ESP-DL's MobileNetV2, dequantized: ReLU, activation outliers."""
    x, labels = _images(data)
    mean = np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 3, 1, 1)
    std = np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1)
    graph = strip_qdq(load_onnx(data / "mobilenet" / "espdl_mobilenetv2_p4_qdq.onnx")).graph
    return _split(graph, (x / 255 - mean) / std, labels, count or 60, seed)


def mirrored(case: Case) -> Case:
    """Twice the test pictures: as they are, and with left and right swapped."""
    return replace(case, test=np.concatenate([case.test, case.test[..., ::-1]]), labels=np.tile(case.labels, 2))


CASES: dict[str, Callable[[Path, int, int], Case]] = {
    "kws": kws, "resnet8": resnet8, "mobilenet_v2": mobilenet_v2, "mobilenet_v2_outliers": mobilenet_v2_outliers,
}  # fmt: skip


def ort_variants() -> Iterator[tuple[str, dict[str, Any]]]:
    """onnxruntime's four: activation int8 or uint8 by min-max, percentile and entropy, weights per channel."""
    from onnxruntime.quantization import CalibrationMethod, QuantType

    for name, method, kind in (
        ("MinMax uint8", CalibrationMethod.MinMax, QuantType.QUInt8),
        ("MinMax int8", CalibrationMethod.MinMax, QuantType.QInt8),
        ("Percentile uint8", CalibrationMethod.Percentile, QuantType.QUInt8),
        ("Entropy uint8", CalibrationMethod.Entropy, QuantType.QUInt8),
    ):
        yield name, {"calibrate_method": method, "activation_type": kind, "weight_type": QuantType.QInt8, "per_channel": True}


def run_ort(case: Case, options: dict[str, Any], threads: int) -> Result:
    """quantize_static after its own preprocessing (optimized, BatchNormalization folded)."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name = case.graph.inputs[0]

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(case.calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            sample = next(self.rest, None)
            return None if sample is None else {name: sample[None]}

    with tempfile.TemporaryDirectory() as folder:
        source, prepared, result = (os.path.join(folder, item) for item in ("float.onnx", "prepared.onnx", "int8.onnx"))
        Path(source).write_bytes(float_model(case.graph))
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        wall, cpu = time.perf_counter(), time.process_time()
        quantize_static(prepared, result, Reader(), quant_format=QuantFormat.QDQ, **options)
        seconds = time.perf_counter() - wall, time.process_time() - cpu
        session = Session(Path(result).read_bytes(), case.graph.outputs, threads, 1)
        found = session.run({name: case.test})
    real = run_float(case.graph, {name: case.test}, threads)
    return Result(compare_outputs(case.graph, real, found, case.labels), *seconds)


@dataclass(frozen=True)
class Result:
    """One quantization: how near it is, and the wall and CPU seconds it took."""

    found: Fidelity
    wall: float
    cpu: float


def run_espgen(case: Case, scheme: str, recipe: str, threads: int, budget: float) -> Result:
    """One of espgen's recipes."""
    name = case.graph.inputs[0]
    wall, cpu = time.perf_counter(), time.process_time()
    settings = Settings(scheme=Scheme(scheme), threads=threads)
    outcome = run_recipe(recipe, case.graph, {name: case.calibration}, settings, budget)
    seconds = time.perf_counter() - wall, time.process_time() - cpu
    found = fidelity(outcome.model.reference, outcome.model, {name: case.test}, threads, case.labels)
    return Result(found, *seconds)


def _row(model: str, what: str, results: Sequence[Result]) -> None:
    """Means over the splits; behind a plus-minus sign the standard deviation from split to split."""
    agreement = [100 * result.found.agreement for result in results]
    top = np.mean([100 * (result.found.accuracy or 0.0) for result in results])
    real = np.mean([100 * (result.found.float_accuracy or 0.0) for result in results])
    error = np.mean([100 * result.found.error for result in results])
    wall, cpu = np.mean([result.wall for result in results]), np.mean([result.cpu for result in results])
    shown = f"{top:5.1f} / {np.mean(agreement):5.1f} ± {np.std(agreement):.1f} / {error:7.3f}"
    print(f"| {model} | {what} | {real:.1f} | {shown} | {wall:.1f} | {cpu:.1f} |", flush=True)


def main() -> None:
    """Print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(CASES))
    parser.add_argument("--schemes", default="shift,affine,esp-dl")
    parser.add_argument("--recipes", default="minmax,default")
    parser.add_argument("--count", type=int, default=0, help="calibration samples (default 256, or 60 of the 100 images)")
    parser.add_argument("--splits", type=int, default=1, help="random splits into calibration and test samples")
    parser.add_argument("--mirror", action="store_true", help="test pictures and their mirror images (not for kws)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--budget", type=float, default=600.0, help="seconds for the recipe auto")
    parser.add_argument("--ort", action="store_true", help="also onnxruntime's quantize_static, four ways")
    chosen = parser.parse_args()
    data = Path(os.environ["ESPGEN_DATA"])
    print("| model | quantizer | float top-1 | top-1 / agreement / error, % | wall s | CPU s |\n|---|---|---|---|---|---|")
    for model in chosen.models.split(","):
        cases = [CASES[model](data, chosen.count, SEED + split) for split in range(chosen.splits)]
        if chosen.mirror and model != "kws":
            cases = [mirrored(case) for case in cases]
        for scheme in chosen.schemes.split(","):
            for recipe in chosen.recipes.split(","):
                results = [run_espgen(case, scheme, recipe, chosen.threads, chosen.budget) for case in cases]
                _row(model, f"{scheme} {recipe}", results)
        if chosen.ort:
            for label, options in ort_variants():
                _row(model, f"onnxruntime {label}", [run_ort(case, options, chosen.threads) for case in cases])


if __name__ == "__main__":
    main()
