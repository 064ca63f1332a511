"""What onnxruntime runs in place of a model file: external data read in, constant inputs as initializers, .tflite as ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from onnx import ModelProto, TensorProto, numpy_helper

from espgen.frontend.files import place_of, read_model
from espgen.frontend.inputs import Numbers, constant_inputs, input_types
from espgen.frontend.reader import parse
from espgen.frontend.tensors import with_data
from espgen.frontend.tflite.reader import tflite_to_onnx
from espgen.frontend.tflite.schema import IDENTIFIER
from espgen.ir import Extents


def in_one_file(model: Path, shapes: Mapping[str, Extents], constants: Mapping[str, Numbers]) -> bytes:
    """What onnxruntime runs in place of the file: the same model, and the same bytes where nothing has to change.

    shapes, constants: as load_onnx takes them. Raises EspgenError as load_onnx does.
    """
    stored = read_model(model)
    if stored[4:8] == IDENTIFIER:
        return bytes(_with_constants(tflite_to_onnx(stored, place_of(model)), shapes, constants).SerializeToString())
    proto = parse(stored, place_of(model))
    outside = any(tensor.data_location == TensorProto.EXTERNAL for tensor in proto.graph.initializer)
    if not outside and not constants:
        return stored
    whole = with_data(proto, Path(model).parent)
    return bytes(_with_constants(whole, shapes, constants).SerializeToString())


def _with_constants(model: ModelProto, shapes: Mapping[str, Extents], constants: Mapping[str, Numbers]) -> ModelProto:
    known = {tensor.name for tensor in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in known]
    arrays = constant_inputs(input_types(inputs, shapes, lambda _: ()), constants)
    for name, data in arrays.items():
        model.graph.initializer.append(numpy_helper.from_array(data, name))
        model.graph.input.remove(next(item for item in model.graph.input if item.name == name))
    return model
