"""What `--data` may hold, and what is said of files that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from espgen import api
from espgen.errors import EspgenError
from espgen.frontend import load_onnx
from espgen.ir import Graph
from espgen.passes.pipeline import lower_to_integer
from espgen.resources import models_dir
from espgen.verify.accuracy import Accuracy
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
    data = load_dataset(path, graph, {"image": ("pixels", "NHWC", "codes")}, None)
    assert np.array_equal(data.arrays["image"].reshape(2, 64), pixels.reshape(2, 64).astype(int) - 128)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": IMAGES, "y": LABELS + 1}, "label 10 is none"),
        ({"image": IMAGES, "y": LABELS - 1}, "label -1 is none"),
        ({"image": IMAGES, "y": LABELS[:2]}, "for 3 samples"),
        ({"image": IMAGES, "y": (LABELS + 0.5).astype(np.float32)}, "float32"),
        ({"image": IMAGES * np.float32("nan")}, "NaN"),
        ({"image": IMAGES[:, :, 1:]}, "the model wants"),
        ({"image": IMAGES.astype(np.complex64)}, "complex64"),
        ({"image": np.zeros((3, 1, 8, 8), "U3")}, "type <U3"),
        ({"image": IMAGES[:0]}, "no samples"),
        ({"image": np.float32(3)}, "the model wants"),
        ({"a": IMAGES, "b": IMAGES}, "no array for input 'image'"),
        ({"y": LABELS}, "no array for input 'image'"),
    ],
)
def test_what_does_not_fit_is_named(
    arrays: dict[str, np.ndarray], message: str, graph: Graph, tmp_path: Path
) -> None:
    with pytest.raises(EspgenError, match=message):
        load_dataset(saved(tmp_path / "d.npz", **arrays), graph, {}, None)


def test_other_arrays_are_ignored_whatever_they_hold(graph: Graph, tmp_path: Path) -> None:
    objects = np.array([{}, 1], dtype=object)
    data = load_dataset(saved(tmp_path / "d.npz", image=IMAGES, names=objects, y=LABELS), graph, {}, None)
    assert len(data) == 3
    with pytest.raises(EspgenError, match="'image' of the data cannot be read"):
        load_dataset(saved(tmp_path / "e.npz", image=objects), graph, {}, None)


def test_what_feeds_an_input_is_no_label(graph: Graph, tmp_path: Path) -> None:
    path = saved(tmp_path / "d.npz", y=IMAGES)
    assert load_dataset(path, graph, {"image": ("y", "")}, None).labels is None
    renamed = onnx.load(models_dir() / "digits_int8_qdq.onnx")
    renamed.graph.input[0].name = "y"
    for node in renamed.graph.node:
        node.input[:] = ["y" if name == "image" else name for name in node.input]
    onnx.save(renamed, tmp_path / "y.onnx")
    data = load_dataset(path, lower_to_integer(load_onnx(tmp_path / "y.onnx", shapes={})), {}, None)
    assert (len(data), data.labels) == (3, None)


@pytest.mark.parametrize("shape", [(3, 2), (6,)])
def test_every_picture_of_a_batch_has_its_label(shape: tuple[int, ...], tmp_path: Path) -> None:
    graph = _batch_of_two(tmp_path)
    pictures = np.stack([IMAGES, IMAGES], axis=1)
    labels = np.arange(6).reshape(shape)
    data = load_dataset(saved(tmp_path / "d.npz", image=pictures, y=labels), graph, {}, None)
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 2, 3, 4, 5]
    limited = load_dataset(tmp_path / "d.npz", graph, {}, 2)
    assert limited.labels is not None
    assert limited.labels.tolist() == [0, 1, 2, 3]
    with pytest.raises(EspgenError, match="label 10 is none"):  # of 10 classes, not of the 2 x 10 scores
        load_dataset(saved(tmp_path / "d.npz", image=pictures, y=labels + 5), graph, {}, None)
    with pytest.raises(EspgenError, match="for 3 samples"):
        load_dataset(saved(tmp_path / "d.npz", image=pictures, y=LABELS), graph, {}, None)


def test_batches_of_pictures_have_a_layout_too(tmp_path: Path) -> None:
    graph = _batch_of_two(tmp_path)
    pictures = np.stack([IMAGES, IMAGES[::-1]], axis=1)
    path = saved(tmp_path / "d.npz", first=pictures, last=np.moveaxis(pictures, 2, -1))
    first, last = (load_dataset(path, graph, {"image": source}, None) for source in (("first", ""), ("last", "NHWC")))
    assert np.array_equal(first.arrays["image"], last.arrays["image"])
    with pytest.raises(EspgenError) as caught:
        load_dataset(saved(tmp_path / "e.npz", image=IMAGES), graph, {}, None)
    assert "[samples, 2, 1, 8, 8]" in str(caught.value.hint)


def test_accuracy_counts_every_picture_of_a_batch(tmp_path: Path) -> None:
    graph = _batch_of_two(tmp_path)
    data = load_dataset(saved(tmp_path / "d.npz", image=np.stack([IMAGES, IMAGES], axis=1), y=np.arange(6)), graph, {}, None)
    scores = np.eye(10, dtype=np.int8)
    accuracy = Accuracy()
    for index, classes in enumerate(([0, 1], [2, 9], [4, 5])):
        api._score(accuracy, graph, {graph.outputs[0]: scores[classes]}, data, index)
    assert accuracy.to_json() == {"top1": pytest.approx(5 / 6), "top5": 1.0}  # of equal scores the first count


def _batch_of_two(folder: Path) -> Graph:
    """The digits model for two pictures at once."""
    model = onnx.load(models_dir() / "digits_int8_qdq.onnx")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2
    del model.graph.value_info[:]
    onnx.save(model, folder / "two.onnx")
    return lower_to_integer(load_onnx(folder / "two.onnx", shapes={}))


def test_files_that_are_no_npz(graph: Graph, tmp_path: Path) -> None:
    (tmp_path / "one.npy").write_bytes(b"\x93NUMPY" + bytes(100))
    (tmp_path / "text.npz").write_text("hello")
    whole = saved(tmp_path / "whole.npz", image=IMAGES).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("one.npy", "text.npz", "cut.npz"):
        with pytest.raises(EspgenError, match=r"no \.npz file"):
            load_dataset(tmp_path / name, graph, {}, None)
