"""What `--data` may hold, and what is said of files that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from espgen.errors import EspgenError
from espgen.frontend import load_onnx
from espgen.ir import Graph
from espgen.passes.pipeline import lower_to_integer
from espgen.resources import models_dir
from espgen.verify.data import load_dataset

IMAGES = np.linspace(0.0, 16.0, 3 * 64, dtype=np.float32).reshape(3, 1, 8, 8)
LABELS = np.array([0, 9, 4])


@pytest.fixture(scope="module")
def graph() -> Graph:
    return lower_to_integer(load_onnx(models_dir() / "digits_int8_qdq.onnx", shapes={}))


def saved(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("name", ["image", "pictures"])
def test_a_single_array_may_have_any_name(name: str, graph: Graph, tmp_path: Path) -> None:
    data = load_dataset(saved(tmp_path / "d.npz", **{name: IMAGES, "y": LABELS}), graph, {}, 2)
    assert len(data) == 2
    assert data.labels is not None
    assert data.labels.tolist() == [0, 9]
    assert data.arrays["image"].shape == (2, 1, 8, 8, 1)
    assert data.arrays["image"].dtype == np.int8


def test_layouts_and_signedness_are_mapped(graph: Graph, tmp_path: Path) -> None:
    pixels = np.arange(2 * 64, dtype=np.uint8).reshape(2, 8, 8, 1)
    path = saved(tmp_path / "d.npz", pixels=pixels, other=pixels)
    data = load_dataset(path, graph, {"image": ("pixels", "NHWC")}, None)
    assert np.array_equal(data.arrays["image"].reshape(2, 64), pixels.reshape(2, 64).astype(int) - 128)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": IMAGES, "y": LABELS + 1}, "label 10 of y"),
        ({"image": IMAGES, "y": LABELS - 1}, "label -1 of y"),
        ({"image": IMAGES, "y": LABELS[:2]}, "for 3 samples"),
        ({"image": IMAGES, "y": LABELS.astype(np.float32)}, "float32"),
        ({"image": IMAGES * np.float32("nan")}, "NaN"),
        ({"image": IMAGES[:, :, 1:]}, "does not hold samples"),
        ({"image": IMAGES.astype(np.int64)}, "int64"),
        ({"image": IMAGES[:0]}, "no samples"),
        ({"a": IMAGES, "b": IMAGES}, "no array 'image'"),
        ({"y": LABELS}, "no array 'image'"),
    ],
)
def test_what_does_not_fit_is_named(
    arrays: dict[str, np.ndarray], message: str, graph: Graph, tmp_path: Path
) -> None:
    with pytest.raises(EspgenError, match=message):
        load_dataset(saved(tmp_path / "d.npz", **arrays), graph, {}, None)


def test_files_that_are_no_npz(graph: Graph, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", IMAGES)
    (tmp_path / "text.npz").write_text("hello")
    whole = saved(tmp_path / "whole.npz", image=IMAGES).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("one.npy", "text.npz", "cut.npz"):
        with pytest.raises(EspgenError, match=r"no \.npz file"):
            load_dataset(tmp_path / name, graph, {}, None)
