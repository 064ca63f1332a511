"""The real models of the data folder with their inputs and labels; nothing here is copied into the project."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from espgen.frontend import load_onnx
from espgen.ir import Graph
from espgen.passes.pipeline import lower_to_integer

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ReferenceModel:
    """A model file, how its real inputs are made, and the accuracy onnxruntime reaches on them (percent)."""

    name: str
    file: str
    samples: Callable[[], tuple[Array, Array]]
    top1: float
    exact: bool = False

    @property
    def path(self) -> Path:
        return data_folder() / self.file


def data_folder() -> Path:
    """The folder named by ESPGEN_DATA; skips the test where it is unset."""
    folder = os.environ.get("ESPGEN_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("ESPGEN_DATA does not name the folder of real models and data")
    return Path(folder)


def _keywords() -> tuple[Array, Array]:
    data = np.load(data_folder() / "kws/kws01_500.npz")
    real = (data["x_int8"].astype(np.float32) - 83) * np.float32(0.5847029089927673)
    return real[:, None], data["y"]


def _pictures() -> tuple[Array, Array]:
    data = np.load(data_folder() / "ic/cifar10_500.npz")
    return np.moveaxis(data["x_uint8_nhwc"].astype(np.float32), -1, 1), data["y"]


def _small_images() -> tuple[Array, Array]:
    data = np.load(data_folder() / "imagenet/imagenet100_128_u8.npz")
    images = next(array for array in data.values() if array.ndim == 4)
    return np.moveaxis((images.astype(np.float32) - 128) / 128, -1, 1), image_classes() + 1


def _large_images() -> tuple[Array, Array]:
    image_module = pytest.importorskip("PIL.Image", reason="Pillow reads the JPEG images")
    mean, deviation = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))
    paths = sorted((data_folder() / "imagenet/jpeg").glob("*.jpg"))
    pixels = np.stack([np.asarray(image_module.open(path).convert("RGB")) for path in paths])
    return np.moveaxis(((pixels / 255.0 - mean) / deviation).astype(np.float32), -1, 1), image_classes()


def image_classes() -> Array:
    """Class of each ImageNet picture, in the order of their file names."""
    with (data_folder() / "imagenet/labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    key = next(name for name in rows[0] if name.startswith("file"))
    return np.array([int(row["class_index"]) for row in sorted(rows, key=lambda row: row[key])])


MODELS = (
    ReferenceModel("kws", "kws/kws_dscnn_int8_qdq.onnx", _keywords, 90.2),
    ReferenceModel("resnet8", "ic/resnet8_int8_qdq.onnx", _pictures, 74.0),
    ReferenceModel("mobilenet_v1", "mobilenet/mobilenet_v1_0.25_128_uint8_qdq.onnx", _small_images, 44.0),
    ReferenceModel("mobilenet_v2", "mobilenet/espdl_mobilenetv2_p4_qdq.onnx", _large_images, 78.0, exact=True),
)


@cache
def integer_graph(model: ReferenceModel) -> Graph:
    """The model lowered to its integer graph (once per process)."""
    return lower_to_integer(load_onnx(model.path))


@cache
def samples(model: ReferenceModel) -> tuple[Array, Array]:
    """Real inputs in ONNX layout and labels."""
    return model.samples()
