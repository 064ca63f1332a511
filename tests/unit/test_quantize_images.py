"""Image folders: lists, layouts, sets larger than memory, and who reads them."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from espgen.data import samples as data_module
from espgen.data.images import ImageArray, Preprocess, find_images
from espgen.data.samples import load
from espgen.errors import EspgenError
from espgen.ir import DType, Graph, Node, Value
from espgen.quantize.commands import evaluate_models
from espgen.quantize.exporter import float_model
from espgen.quantize.judge import judge
from espgen.quantize.pipeline import run_float
from tests.unit.quantize_nets import HARD

image = pytest.importorskip("PIL.Image", reason="needs the extra quantize")

COUNT = 150
PREPROCESS = Preprocess((0.5,), (0.25, 0.5, 1.0), 255.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    lines = []
    for index in range(COUNT):
        image.fromarray(random.integers(0, 255, (20, 16, 3), dtype=np.uint8)).save(path / f"{index:03}.png")
        lines.append(f"{index:03}.png {index % 8}")
    (path / "val_list.txt").write_text("\n".join(lines))
    return path


def _relu(shape: tuple[int, ...]) -> Graph:
    values = {name: Value(name, shape, DType.FLOAT32) for name in "xy"}
    return Graph("net", ("x",), ("y",), (Node("relu", "Relu", ("x",), ("y",)),), values, {})


def test_images_are_read_where_they_are_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = HARD["loud_logits"]()
    whole = load(str(folder), graph, PREPROCESS).arrays["input"]
    monkeypatch.setattr(data_module, "KEPT", 100)
    samples = load(str(folder), graph, PREPROCESS, lazy=True)
    lazy = samples.arrays["input"]
    assert isinstance(whole, np.ndarray)
    assert isinstance(lazy, ImageArray)
    assert (lazy.shape, len(samples)) == ((COUNT, 3, 16, 16), COUNT)
    for chosen in (slice(None), slice(3, 9), slice(None, None, 50), np.array([5, 2]), np.arange(COUNT) % 4 == 3):
        assert np.array_equal(np.asarray(lazy[chosen]), whole[chosen])
    assert np.array_equal(lazy[7], whole[7])
    assert np.array_equal(np.asarray(pickle.loads(pickle.dumps(lazy[:2]))), whole[:2])
    assert isinstance(load(str(folder), graph, PREPROCESS, limit=90, lazy=True).arrays["input"], np.ndarray)


def test_sets_larger_than_memory_evaluate_the_same(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = HARD["loud_logits"]()
    model = tmp_path / "net.onnx"
    model.write_bytes(float_model(graph))
    steps: list[tuple[str, int, int]] = []
    expected = evaluate_models(model, None, str(folder), preprocess=PREPROCESS, threads=1)
    monkeypatch.setattr(data_module, "KEPT", 8)
    read: list[int] = []
    original = ImageArray.__array__
    monkeypatch.setattr(ImageArray, "__array__", lambda self, *rest, **more: (read.append(len(self)), original(self))[1])
    found = evaluate_models(
        model, None, str(folder), preprocess=PREPROCESS, threads=1, progress=lambda *step: steps.append(step)
    )
    assert found == expected
    assert max(read) <= 16
    assert steps[-1] == ("evaluating float (onnxruntime)", COUNT, COUNT)
    samples = load(str(folder), graph, PREPROCESS, lazy=True)
    with judge(samples.arrays) as run:
        whole = load(str(folder), graph, PREPROCESS).arrays
        assert np.array_equal(run(graph)[graph.outputs[0]], run_float(graph, whole)[graph.outputs[0]])


def test_channels_last_inputs_get_channels_last(folder: Path) -> None:
    first = load(str(folder), _relu((1, 3, 16, 16)), PREPROCESS, limit=4).arrays["x"]
    last = load(str(folder), _relu((1, 16, 16, 3)), PREPROCESS, limit=4).arrays["x"]
    assert np.array_equal(first, last.transpose(0, 3, 1, 2))
    grey = load(str(folder), _relu((1, 1, 16, 16)), limit=4).arrays["x"]
    assert grey.shape == (4, 1, 16, 16)


def test_inputs_that_are_no_images_are_refused(folder: Path) -> None:
    for shape, message in (((1, 10), "one image input"), ((1, 7, 16, 16), "1 or 3 channels")):
        with pytest.raises(EspgenError, match=message):
            load(str(folder), _relu(shape))


def test_a_list_says_which_images_and_in_which_order(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "image_label.txt").write_text(f"{folder / '004.png'} 3\n\n{folder / '001.png'} 5\n")
    images, labels = find_images(tmp_path, (1, 3, 16, 16), Preprocess(), None)
    assert [file.name for file in images.files] == ["004.png", "001.png"]
    assert labels is not None
    assert labels.tolist() == [3, 5]


@pytest.mark.parametrize(
    "listing", [b"000.png \xc2\xb2", b"000.png --1", b"000.png", b"000.png 99999999999999999999", b"\xff\xfe 1", b"000.png 1.0"]
)
def test_lists_that_are_none(listing: bytes, tmp_path: Path) -> None:
    (tmp_path / "val_list.txt").write_bytes(listing)
    with pytest.raises(EspgenError, match=r"line 1 is not|no UTF-8 text") as caught:
        find_images(tmp_path, (1, 3, 16, 16), Preprocess(), None)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(60), "cut", "bomb"])
def test_images_that_are_none(content: bytes | str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = (folder / "000.png").read_bytes()
    if content == "bomb":
        monkeypatch.setattr(image, "MAX_IMAGE_PIXELS", 10)
    (tmp_path / "a.png").write_bytes(whole if content == "bomb" else whole[:200] if content == "cut" else content)
    images, _ = find_images(tmp_path, (1, 3, 16, 16), Preprocess(), None)
    with pytest.raises(EspgenError, match="can't read the image") as caught:
        np.asarray(images)
    assert caught.value.exit_code == 2
    assert caught.value.place == str(tmp_path / "a.png")
