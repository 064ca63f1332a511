"""Untrusted model files: every fault is an EspgenError that names its place and a remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx_models import model, node, qdq

from espgen.errors import EspgenError
from espgen.frontend import limits, load_onnx
from espgen.frontend.wire import first_bad_offset


def base() -> ModelProto:
    """Conv, quantized input and weights: every kind of thing that can be broken."""
    nodes, constants = qdq("x", 0.5, np.int8(3))
    constants |= {
        "w": np.ones((2, 3, 3, 3), np.int8), "ws": np.float32([0.1, 0.2]), "wz": np.int8([0, 0]), "b": np.float32([0.5, 1.0])
    }  # fmt: skip
    nodes += [
        node("DequantizeLinear", "w ws wz", "wd", axis=0),
        node("Conv", "x_dq wd b", "c", pads=[1, 1, 1, 1]),
        node("Relu", "c", "y"),
    ]
    return model(nodes, {"x": [1, 3, 8, 8]}, ["y"], constants)


def initializer(broken: ModelProto, name: str) -> TensorProto:
    return next(item for item in broken.graph.initializer if item.name == name)


def set_scale(value: float) -> Callable[[ModelProto], None]:
    def change(broken: ModelProto) -> None:
        initializer(broken, "x_s").raw_data = np.float32(value).tobytes()

    return change


def _huge_input(broken: ModelProto) -> None:
    for dim in broken.graph.input[0].type.tensor_type.shape.dim:
        dim.dim_value = 1 << 40


def _high_rank(broken: ModelProto) -> None:
    for _ in range(20):
        broken.graph.input[0].type.tensor_type.shape.dim.add().dim_value = 1


def _lying_dims(broken: ModelProto) -> None:
    initializer(broken, "w").dims[0] = 1 << 60


def _short_data(broken: ModelProto) -> None:
    tensor = initializer(broken, "w")
    tensor.raw_data = tensor.raw_data[:-1]


def _cycle(broken: ModelProto) -> None:
    broken.graph.node[3].input[0] = "y"


def _twice(broken: ModelProto) -> None:
    broken.graph.node[4].output[0] = "c"


def _duplicate_initializer(broken: ModelProto) -> None:
    broken.graph.initializer.append(initializer(broken, "w"))


def _zero_point_type(broken: ModelProto) -> None:
    initializer(broken, "wz").data_type = TensorProto.UINT8


def _attribute_type(broken: ModelProto) -> None:
    del broken.graph.node[3].attribute[:]
    broken.graph.node[3].attribute.append(helper.make_attribute("pads", 1.5))


def _unknown_attribute(broken: ModelProto) -> None:
    broken.graph.node[4].attribute.append(helper.make_attribute("slope", 1))


def _unknown_operator(broken: ModelProto) -> None:
    broken.graph.node[4].op_type = "Reluu"


def _unknown_domain(broken: ModelProto) -> None:
    broken.graph.node[4].domain = "org.example"


def _missing_value(broken: ModelProto) -> None:
    broken.graph.node[4].input[0] = "nothing"


def _missing_output(broken: ModelProto) -> None:
    broken.graph.output[0].name = "nothing"


def _external(broken: ModelProto) -> None:
    tensor = initializer(broken, "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")


def _sparse(broken: ModelProto) -> None:
    broken.graph.sparse_initializer.add()


def _opset(version: int) -> Callable[[ModelProto], None]:
    def change(broken: ModelProto) -> None:
        broken.opset_import[0].version = version

    return change


def _channels(broken: ModelProto) -> None:
    initializer(broken, "w").dims[:] = [2, 9, 3, 1]


def _negative_stride(broken: ModelProto) -> None:
    broken.graph.node[3].attribute.append(helper.make_attribute("strides", [-1, 1]))


def _long_name(broken: ModelProto) -> None:
    broken.graph.node[4].name = "n" * (limits.MAX_NAME + 1)


def _huge_fold(broken: ModelProto) -> None:
    broken.graph.initializer.append(helper.make_tensor("big", TensorProto.INT64, [3], [10**4, 10**4, 10**3]))
    broken.graph.node.append(node("ConstantOfShape", "big", "huge"))


def _many_scales(broken: ModelProto) -> None:
    broken.graph.node[2].attribute[0].i = 1


def _string_input(broken: ModelProto) -> None:
    broken.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING


def _no_number_left(broken: ModelProto) -> None:
    broken.graph.initializer.append(numpy_helper.from_array(np.float32(np.inf), "low"))
    broken.graph.node[4].op_type = "Clip"
    broken.graph.node[4].input.append("low")


def _nameless(broken: ModelProto) -> None:
    broken.graph.initializer.append(helper.make_tensor("", TensorProto.FLOAT, [1], [1.0]))


FAULTS: list[tuple[Callable[[ModelProto], None], str, str]] = [
    (set_scale(0.0), "not positive and finite", "QuantizeLinear_x_q"),
    (set_scale(float("nan")), "not positive and finite", "QuantizeLinear_x_q"),
    (set_scale(float("inf")), "not positive and finite", "QuantizeLinear_x_q"),
    (set_scale(-1.0), "not positive and finite", "QuantizeLinear_x_q"),
    (_huge_input, "elements", ""),
    (_high_rank, "dimensions", ""),
    (_lying_dims, "elements", ""),
    (_short_data, "bytes of raw data", ""),
    (_cycle, "cycle", "Conv_c"),
    (_twice, "defined twice", "Relu_y"),
    (_duplicate_initializer, "defined twice", ""),
    (_nameless, "has no name", ""),
    (_zero_point_type, "zero point", "DequantizeLinear_wd"),
    (_attribute_type, "must be ints", "Conv_c"),
    (_unknown_attribute, "is unknown to Relu", "Relu_y"),
    (_unknown_operator, "is unknown", "Relu_y"),
    (_unknown_domain, "is unknown", "Relu_y"),
    (_missing_value, "computed by no node", "Relu_y"),
    (_missing_output, "computed by no node", ""),
    (_external, "in another file", ""),
    (_sparse, "sparse", ""),
    (_opset(10), "opset 10", ""),
    (_opset(0), "no ai.onnx opset", ""),
    (_opset(9999), "opset 9999", ""),
    (_channels, "don't fit together", "Conv_c"),
    (_negative_stride, "strides|Attribute", "Conv_c"),
    (_long_name, "characters", ""),
    (_huge_fold, "elements", "ConstantOfShape_huge"),
    (_many_scales, "2 scales for axis 1", "DequantizeLinear_wd"),
    (_no_number_left, "leaves no number", "Relu_y"),
    (_string_input, "element type string", ""),
]


@pytest.mark.parametrize(("break_it", "message", "at"), FAULTS, ids=lambda item: getattr(item, "__name__", None))
def test_every_fault_names_place_and_remedy(break_it: Callable[[ModelProto], None], message: str, at: str) -> None:
    load_onnx(base().SerializeToString())
    broken = base()
    break_it(broken)
    with pytest.raises(EspgenError, match=message) as error:
        load_onnx(broken.SerializeToString())
    assert error.value.hint
    assert error.value.node == at if at else error.value.place


def test_no_model_at_all(tmp_path: Path) -> None:
    for data in (b"", b"\x00" * 64, b"this is no model", bytes(range(256))):
        with pytest.raises(EspgenError) as error:
            load_onnx(data)
        assert "offset" in str(error.value) or error.value.place
    with pytest.raises(EspgenError, match="can't read the model"):
        load_onnx(tmp_path / "missing.onnx")


def test_truncated_files_name_the_offset() -> None:
    data = base().SerializeToString()
    for length in range(0, len(data) - 1, 37):
        try:
            load_onnx(data[:length])
        except EspgenError as error:
            assert error.hint and (error.place or error.node)
    offset, message = first_bad_offset(data[: len(data) // 2])
    assert 0 < offset < len(data) // 2 and message


def test_external_data_stays_in_the_models_folder(tmp_path: Path) -> None:
    broken = base()
    _external(broken)
    inside = tmp_path / "model"
    inside.mkdir()
    file = inside / "model.onnx"
    weights = np.ones((2, 3, 3, 3), np.int8).tobytes()
    file.write_bytes(broken.SerializeToString())
    (inside / "weights.bin").write_bytes(weights)
    with pytest.raises(EspgenError, match="in another file"):
        load_onnx(file)
    assert load_onnx(file, allow_external_data=True).constants["w"].shape == (2, 3, 3, 3)
    (tmp_path / "secret.bin").write_bytes(weights)
    (inside / "link.bin").symlink_to(tmp_path / "secret.bin")
    for location in ("../secret.bin", str(tmp_path / "secret.bin"), "link.bin", "missing.bin", "", ".", "a\0b"):
        initializer(broken, "w").external_data[0].value = location
        file.write_bytes(broken.SerializeToString())
        with pytest.raises(EspgenError, match="no regular file"):
            load_onnx(file, allow_external_data=True)
    (inside / "weights.bin").write_bytes(weights[:-1])
    initializer(broken, "w").external_data[0].value = "weights.bin"
    file.write_bytes(broken.SerializeToString())
    with pytest.raises(EspgenError, match="54 bytes"):
        load_onnx(file, allow_external_data=True)


def test_functions_that_explode_or_recurse_are_refused() -> None:
    for levels, message in ((30, "more than"), (0, "calls itself")):
        exploding = model([node("F0", "x", "y", domain="local")], {"x": [2]}, ["y"])
        exploding.opset_import.append(helper.make_opsetid("local", 1))
        for level in range(levels + 1):
            inner = "F0" if levels == 0 else f"F{level + 1}"
            leaf = level == levels and levels > 0
            body = [node("Relu", "a", "b")] if leaf else [
                node(inner, "a", "m", domain="local"), node(inner, "m", "b", domain="local")
            ]  # fmt: skip
            opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
            exploding.functions.append(helper.make_function("local", f"F{level}", ["a"], ["b"], body, opsets))
        with pytest.raises(EspgenError, match=message):
            load_onnx(exploding.SerializeToString())
