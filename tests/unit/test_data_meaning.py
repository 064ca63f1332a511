"""What numbers mean: one rule for every command, said where it applies, and counted where values do not fit."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from espgen import api, cli, evaluation
from espgen.data import npz
from espgen.data.inputs import Grid, ModelInput
from espgen.data.mapping import Wanted, checked, parse
from espgen.data.meaning import meant
from espgen.data.npz import of_file
from espgen.data.samples import load
from espgen.errors import EspgenError
from espgen.frontend import load_onnx
from espgen.ir import DType
from espgen.quantize.commands import QuantizeOptions, quantize
from espgen.resources import models_dir

INT8 = Grid(0.5, -28, DType.INT8)
REAL = ModelInput("x", (1, 4), DType.FLOAT32, False, INT8)
WIDE = ModelInput("x", (1, 4), DType.FLOAT32, False, Grid(0.5, 0, DType.INT16))
PLAIN = ModelInput("x", (1, 4), DType.FLOAT32)
TOKENS = ModelInput("x", (1, 4), DType.INT64)
INTEGER = ModelInput("x", (1, 4), DType.UINT8, False, Grid(0.5, 100, DType.UINT8))
FLOATS = np.array([[0.0, 1.5, 40.25, 77.5]])
PIXELS = np.array([[0, 3, 77, 255]], np.uint8)


@pytest.mark.parametrize(
    ("data", "item", "meaning", "expected", "said"),
    [
        (FLOATS, REAL, "", [0.0, 1.5, 40.25, 77.5], []),
        (FLOATS, REAL, "real", [0.0, 1.5, 40.25, 77.5], []),
        (PIXELS, PLAIN, "", [0.0, 3.0, 77.0, 255.0], ["uint8 array is taken as real values, 0 to 255"]),
        (PIXELS, REAL, "", [0.0, 3.0, 77.0, 255.0], ["taken as real values", "1 of 4 values (25 %) lie outside -50 to 77.5"]),
        (PIXELS, REAL, "codes", [-50.0, -48.5, -11.5, 77.5], ["taken as codes of the int8 input, moved by -128"]),
        (PIXELS.astype(np.int64) - 128, REAL, "codes", [-50.0, -48.5, -11.5, 77.5], ["taken as codes"]),
        (PIXELS, TOKENS, "", [0, 3, 77, 255], []),
        (PIXELS.astype(">i2"), WIDE, "codes", [0.0, 1.5, 38.5, 127.5], ["codes"]),
        (PIXELS.astype("<u2"), WIDE, "codes", [-16384.0, -16382.5, -16345.5, -16256.5], ["moved by -32768"]),
        (FLOATS.astype(">f8"), REAL, "", [0.0, 1.5, 40.25, 77.5], []),
        (PIXELS, INTEGER, "", [0, 3, 77, 255], []),
        (FLOATS, INTEGER, "", [100, 103, 180, 255], ["put on the grid"]),
        (PIXELS, INTEGER, "real", [100, 106, 254, 255], ["put on the grid", "1 of 4 values"]),
        (PIXELS.astype(np.float32), INTEGER, "codes", [0, 3, 77, 255], ["codes"]),
        (PIXELS.astype(np.float64), TOKENS, "", [0, 3, 77, 255], []),
    ],
)
def test_the_rule(data: np.ndarray, item: ModelInput, meaning: str, expected: list[float], said: list[str]) -> None:
    found = meant(data, item, meaning, "data")
    assert found.data.tolist() == [expected]
    assert found.data.dtype == item.dtype.numpy
    assert len(found.notes) == len(said)
    for piece, note in zip(said, found.notes, strict=True):
        assert piece in note


@pytest.mark.parametrize(
    ("data", "item", "meaning", "message"),
    [
        (PIXELS, PLAIN, "codes", "there are no codes"),
        (PIXELS.astype(np.int16) + 1, REAL, "codes", "holds -128 to 127, the data 1 to 256"),
        (FLOATS, REAL, "codes", "the data holds fractions"),
        (FLOATS, TOKENS, "", "the data holds fractions"),
        (PIXELS.astype(np.int32) + 1, INTEGER, "", "holds 0 to 255"),
        (np.array([["a"]]), REAL, "", "type <U1"),
        (np.array([[1e300]]), REAL, "", "beyond float32"),
        (np.array([[1e300]]), INTEGER, "", "beyond float32"),
        (np.array([[2**63]], np.uint64), TOKENS, "", "int64 input holds"),
        (PIXELS > 3, REAL, "", "type bool"),
        (PIXELS * 1j, REAL, "real", "type complex128"),
    ],
)
def test_what_an_input_cannot_hold_is_refused(data: np.ndarray, item: ModelInput, meaning: str, message: str) -> None:
    with pytest.raises(EspgenError, match=message) as caught:
        meant(data, item, meaning, "data")
    assert caught.value.exit_code == 2
    assert caught.value.hint


def test_every_code_goes_through_real_values_and_back() -> None:
    """Codes are fed to every place as the real values they stand for: no code may change on the way."""
    for dtype in (DType.INT8, DType.UINT8, DType.INT16, DType.UINT16):
        codes = np.arange(dtype.minimum, dtype.maximum + 1)
        for scale in (0.1, 1 / 3, 2.0**-7, 0.5847029, 1e-30, 3e5):
            grid = Grid(float(np.float32(scale)), dtype.minimum + 83, dtype)
            real = meant(codes, ModelInput("x", codes.shape, DType.FLOAT32, False, grid), "codes", "data").data
            back = np.rint(real / np.float32(grid.scale)) + grid.zero_point
            assert np.array_equal(back, codes)


@pytest.mark.parametrize(
    ("entry", "name", "wanted"),
    [
        ("x=a", "x", ("a", "", "")), ("x=a:NHWC", "x", ("a", "NHWC", "")), ("x=a:nchw:Codes", "x", ("a", "NCHW", "codes")),
        ("x=a:real", "x", ("a", "", "real")), ("x=a:codes:NHWC", "x", ("a", "NHWC", "codes")),
        ("in:0=m:x", "in:0", ("m:x", "", "")),
        ("x=m:0:NHWC", "x", ("m:0", "NHWC", "")), ("x=a:real:codes", "x", ("a:real", "", "codes")),
    ],
)  # fmt: skip
def test_input_options_are_parsed(entry: str, name: str, wanted: tuple[str, str, str]) -> None:
    assert parse(entry) == (name, wanted)


@pytest.mark.parametrize("entry", ["x", "=a", "x=", "x=:NHWC", "x=:real"])
def test_input_options_that_are_none(entry: str) -> None:
    with pytest.raises(ValueError, match="is not of the form"):
        parse(entry)


def test_mappings_of_the_library_are_checked() -> None:
    assert checked({"x": ("a", "NHWC")}, ["x"]) == {"x": Wanted("a", "NHWC", "")}
    for mapping in ({"z": ("a", "")}, {"x": ("a", "HWC")}, {"x": ("a", "", "pixels")}):
        with pytest.raises(EspgenError):
            checked(mapping, ["x"])


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as pixels 0..16, as codes of the bundled model's int8 input, and as real values."""
    folder = tmp_path_factory.mktemp("pixels")
    data = np.load(models_dir() / "digits_test.npz")
    images, labels = data["image"][:120], data["y"][:120]
    graph = onnx.load(models_dir() / "digits_int8_qdq.onnx").graph
    (quantizer,) = [node for node in graph.node if "image" in node.input]
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    scale, zero = constants[quantizer.input[1]], constants[quantizer.input[2]]
    codes = np.clip(np.rint(images / scale) + zero, -128, 127).astype(np.int8)
    np.savez(
        folder / "digits.npz", pixels=images.astype(np.uint8).transpose(0, 2, 3, 1), codes=codes,
        unsigned=(codes.astype(int) + 128).astype(np.uint8), real=images, y=labels,
    )  # fmt: skip
    return folder / "digits.npz"


def test_all_commands_take_pixels_alike(pixels: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is part of the `quantize` extra")
    model, component = models_dir() / "digits_int8_qdq.onnx", tmp_path / "component"
    api.compile(model, component)
    shares = set()
    for how in (("pixels", "NHWC"), ("pixels", "NHWC", "real"), ("codes", "", "codes"), ("unsigned", "", "codes"), ("real", "")):
        rows = evaluation.run(None, model, str(pixels), component=component, places=["host"], inputs={"image": how})["rows"]
        verified = api.verify(component, data=pixels, target="host", inputs={"image": how})
        shares |= {row["top1"] for row in rows} | {verified["accuracy"]["top1"]}
        assert any("taken as" in note for note in verified["data"]) == (how[0] != "real")
    (share,) = shares
    assert share > 0.98
    wrong = api.verify(component, data=pixels, target="host", inputs={"image": ("codes", "")})
    assert wrong["accuracy"]["top1"] < 0.9
    assert any("saturate" in note for note in wrong["data"])
    assert any(":codes" in note for note in wrong["data"])


def test_the_quantizer_says_how_it_takes_pixels(pixels: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is part of the `quantize` extra")
    options = QuantizeOptions(recipe="minmax", inputs={"image": Wanted("pixels", "NHWC")})
    result = quantize(models_dir() / "digits_float.onnx", str(pixels), tmp_path / "q.onnx", options)
    assert any("uint8 array is taken as real values, 0 to 16" in note for note in result["data"])
    with pytest.raises(EspgenError, match="there are no codes"):
        codes = QuantizeOptions(recipe="minmax", inputs={"image": Wanted("codes", "", "codes")})
        quantize(models_dir() / "digits_float.onnx", str(pixels), tmp_path / "r.onnx", codes)
    assert not (tmp_path / "r.onnx").exists()


def test_notes_are_printed_by_the_program(pixels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is part of the `quantize` extra")
    arguments = ["evaluate", "--quantized", str(models_dir() / "digits_int8_qdq.onnx"), "--data", str(pixels)]
    for more, code in ((["--input", "image=pixels:NHWC"], 0), (["--input", "image=pixels:HWC"], 2), (["--input", "z=pixels"], 2)):
        with pytest.raises(SystemExit) as stopped:
            cli.main([*arguments, *more])
        assert stopped.value.code == code
        told = capsys.readouterr()
        assert ("note: input 'image': the uint8 array is taken as real values" in told.out) == (code == 0)


def test_an_integer_input_gets_its_own_integers(tmp_path: Path) -> None:
    """A model whose input is uint8: what onnxruntime would be fed."""
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is part of the `quantize` extra")
    weights = np.random.default_rng(0).integers(-127, 128, (12, 5)).astype(np.int8)
    constants = {"s": np.float32(0.25), "z": np.uint8(9), "w": weights, "ws": np.float32(0.02), "wz": np.int8(0),
                 "os": np.float32(0.5), "oz": np.int8(3)}  # fmt: skip
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["r"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["v"]),
        helper.make_node("MatMul", ["r", "v"], ["p"]), helper.make_node("QuantizeLinear", ["p", "os", "oz"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "os", "oz"], ["y"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.UINT8, (1, 12))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 5))],
        [numpy_helper.from_array(np.asarray(data), name) for name, data in constants.items()],
    )  # fmt: skip
    model = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)
    codes = np.random.default_rng(1).integers(0, 256, (20, 12)).astype(np.uint8)
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    labels = np.array([session.run(None, {"x": row[None]})[0].argmax() for row in codes])
    np.savez(tmp_path / "data.npz", x=codes, wide=codes.astype(np.int64), real=(codes.astype(np.float32) - 9) * 0.25, y=labels)
    component = tmp_path / "component"
    api.compile(model, component)
    for name in ("x", "wide", "real"):
        mapping: dict[str, Any] = {"x": (name, "")}
        assert api.verify(component, data=tmp_path / "data.npz", target="host", inputs=mapping)["accuracy"]["top1"] == 1.0
        rows = evaluation.run(None, model, str(tmp_path / "data.npz"), inputs=mapping)["rows"]
        assert [row["top1"] for row in rows] == [1.0, 1.0]


def test_an_integer_input_that_is_cast_gets_its_own_integers(tmp_path: Path) -> None:
    """Pixels that the model itself scales: whole numbers are pixels to every command, in whatever type they come."""
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is part of the `quantize` extra")
    weights = np.random.default_rng(0).integers(-127, 128, (12, 5)).astype(np.int8)
    constants = {"k": np.float32(1 / 255), "s": np.float32(1 / 255), "z": np.uint8(0), "w": weights, "ws": np.float32(0.02),
                 "wz": np.int8(0), "os": np.float32(0.1), "oz": np.int8(3)}  # fmt: skip
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT), helper.make_node("Mul", ["c", "k"], ["m"]),
        helper.make_node("QuantizeLinear", ["m", "s", "z"], ["i"]), helper.make_node("DequantizeLinear", ["i", "s", "z"], ["r"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["v"]), helper.make_node("MatMul", ["r", "v"], ["p"]),
        helper.make_node("QuantizeLinear", ["p", "os", "oz"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "os", "oz"], ["y"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.UINT8, (1, 12))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 5))],
        [numpy_helper.from_array(np.asarray(data), name) for name, data in constants.items()],
    )  # fmt: skip
    model = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)
    codes = np.random.default_rng(1).integers(0, 256, (20, 12)).astype(np.uint8)
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    labels = np.array([session.run(None, {"x": row[None]})[0].argmax() for row in codes])
    np.savez(tmp_path / "data.npz", x=codes, whole=codes.astype(np.float32), y=labels)
    component = tmp_path / "component"
    api.compile(model, component)
    for name in ("x", "whole"):
        mapping: dict[str, Any] = {"x": (name, "")}
        assert api.verify(component, data=tmp_path / "data.npz", target="host", inputs=mapping)["accuracy"]["top1"] == 1.0
        rows = evaluation.run(None, model, str(tmp_path / "data.npz"), inputs=mapping)["rows"]
        assert [row["top1"] for row in rows] == [1.0, 1.0]


def _npy(header: str, body: bytes = b"") -> bytes:
    text = header.encode() + b" " * (117 - len(header)) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


HEADERS = {
    "too_many": _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000, 4), }", bytes(64)),
    "negative": _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-4, -4), }", bytes(64)),
    "huge_type": _npy("{'descr': '|V2147483647', 'fortran_order': False, 'shape': (1000,), }", bytes(64)),
    "objects": _npy("{'descr': '|O', 'fortran_order': False, 'shape': (4,), }", bytes(32)),
    "no_dict": _npy("[1, 2, 3]", bytes(64)),
    "unbalanced": _npy("{'descr': '<f4', 'shape': ((((((", bytes(64)),
    "nested": _npy("(" * 100, bytes(64)),
    "code": _npy("__import__('os').abort()", bytes(64)),
    "texts": _npy("{'descr': '<f4', 'fortran_order': False, 'shape': 'abc', }", bytes(64)),
    "version": b"\x93NUMPY\x09\x00" + bytes(100),
    "long_header": b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b" " * 100_000,
    "short": b"\x93NUM",
    "no_array": b"hello",
    "empty": b"",
}


@pytest.mark.parametrize("name", sorted(HEADERS))
@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, "npy"])
def test_headers_are_not_believed(name: str, kind: Any, tmp_path: Path) -> None:
    graph = load_onnx(models_dir() / "digits_float.onnx")
    path = tmp_path / "data.npz"
    if kind == "npy":
        path.write_bytes(HEADERS[name])
    else:
        with zipfile.ZipFile(path, "w", kind) as archive:
            archive.writestr("image.npy", HEADERS[name])
    with pytest.raises(EspgenError, match=r"cannot be read|can't read|no array") as caught:
        load(str(path), graph)
    assert caught.value.exit_code == 2
    assert caught.value.place == str(path)


def test_an_archive_that_claims_more_than_it_can_hold(tmp_path: Path) -> None:
    """The directory of the archive lies as the header does: nothing of that size is ever allocated."""
    header = _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (250000000, 4), }")
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("image.npy", header + bytes(64))
    size = len(header) + 4 * 10**9
    raw = path.read_bytes().replace((len(header) + 64).to_bytes(4, "little"), (size & 0xFFFFFFFF).to_bytes(4, "little"))
    path.write_bytes(raw)
    with pytest.raises(EspgenError, match="cannot be read"):
        of_file(path).read("image")


def test_an_array_larger_than_memory_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "data.npz", image=np.zeros((1000, 1, 8, 8), np.float32))
    assert of_file(tmp_path / "data.npz").read("image").shape == (1000, 1, 8, 8)
    monkeypatch.setattr(npz, "_memory", lambda: 500_000)
    with pytest.raises(EspgenError, match="memory"):
        of_file(tmp_path / "data.npz").read("image")


@pytest.mark.parametrize("verb", ["verify", "evaluate", "quantize"])
@pytest.mark.parametrize("content", ["pickle", "objects", "text", "none", "nan", "names"])
def test_bad_data_ends_with_2(
    verb: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], component: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is part of the `quantize` extra")
    path = tmp_path / "data.npz"
    arrays: dict[str, dict[str, Any]] = {
        "objects": {"image": np.array([{}, 1], object)}, "text": {"image": np.array([["a", "b"]])},
        "none": {"image": np.zeros((0, 1, 8, 8), np.float32)}, "nan": {"image": np.full((2, 1, 8, 8), np.inf)},
        "names": {"a": np.ones((2, 1, 8, 8)), "b": np.ones((3, 1, 8, 8))},
    }  # fmt: skip
    if content == "pickle":
        np.save(path.with_suffix(".npy"), np.array([{}, {}], object), allow_pickle=True)
        path.with_suffix(".npy").rename(path)
    else:
        np.savez(path, **arrays[content])
    float_model, model = str(models_dir() / "digits_float.onnx"), str(models_dir() / "digits_int8_qdq.onnx")
    commands = {
        "verify": ["verify", str(component), "--target", "host"], "evaluate": ["evaluate", "--quantized", model],
        "quantize": ["quantize", float_model, "-o", str(tmp_path / "q.onnx")],
    }  # fmt: skip
    with pytest.raises(SystemExit) as stopped:
        cli.main([*commands[verb], "--data", str(path), "--json"])
    told = capsys.readouterr()
    assert stopped.value.code == 2, told.err
    problem = json.loads(told.out)["error"]
    assert str(path) in problem["place"]
    assert problem["remedy"]
    assert "Traceback" not in told.err
    assert not (tmp_path / "q.onnx").exists()


@pytest.fixture(scope="module")
def component(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("component") / "digits"
    api.compile(models_dir() / "digits_int8_qdq.onnx", folder)
    return folder
