"""Static shapes of the graph's inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onnx import ValueInfoProto

from espgen.errors import EspgenError
from espgen.frontend.importer import TensorType
from espgen.frontend.limits import check_shape
from espgen.frontend.tensors import numpy_type
from espgen.ir import Extents


def input_types(
    inputs: Sequence[ValueInfoProto], shapes: Mapping[str, Extents], example: Callable[[str], Sequence[int]]
) -> dict[str, TensorType]:
    """Type of every input, in order. A symbolic first dimension is 1; other symbolic ones come from `shapes`.

    `example` gives a shape that an input might have, for the remedy where the model says nothing.

    Raises EspgenError naming the dimension and the option that fixes it.
    """
    extents = _batch_names(inputs, shapes)
    used: set[str] = set()
    result: dict[str, TensorType] = {}
    for item in inputs:
        what = f"input {item.name!r}"
        if not item.type.HasField("tensor_type"):
            raise EspgenError(f"{what} is no tensor", place=item.name, hint="only tensors can be inputs")
        dtype = numpy_type(item.type.tensor_type.elem_type, what)
        if item.name not in shapes and not item.type.tensor_type.HasField("shape"):
            text = ",".join(map(str, example(item.name)))
            raise EspgenError(
                f"{what} has no shape", place=f"input {item.name!r}",
                hint=f"give its extents, for example --shape {item.name}={text}",
            )  # fmt: skip
        shape = _shape(item, shapes, extents, used)
        result[item.name] = TensorType(check_shape(shape, what), dtype)
    unknown = set(shapes) - used
    if unknown:
        known = sorted({item.name for item in inputs} | set(_dimension_names(inputs)))
        raise EspgenError(
            f"no input or dimension is called {sorted(unknown)[0]!r}", place=f"--shape {sorted(unknown)[0]}",
            hint=f"the model has {', '.join(known) or 'none'}",
        )  # fmt: skip
    return result


def _dimension_names(inputs: Sequence[ValueInfoProto]) -> list[str]:
    return [dim.dim_param for item in inputs for dim in item.type.tensor_type.shape.dim if dim.dim_param]


def _batch_names(inputs: Sequence[ValueInfoProto], shapes: Mapping[str, Extents]) -> dict[str, int]:
    """Named dimensions that are known: those given, and 1 for those that lead some input's shape."""
    extents = {}
    for item in inputs:
        dims = item.type.tensor_type.shape.dim
        if len(dims) > 0 and dims[0].dim_param:
            extents[dims[0].dim_param] = 1
    extents.update({name: value for name, value in shapes.items() if isinstance(value, int)})
    return extents


def _shape(
    item: ValueInfoProto, shapes: Mapping[str, Extents], extents: Mapping[str, int], used: set[str]
) -> list[int]:
    given = shapes.get(item.name)
    wanted = [given] if isinstance(given, int) else given
    declared = item.type.tensor_type
    if wanted is not None:
        used.add(item.name)
    if not declared.HasField("shape") and wanted is not None:
        return [int(extent) for extent in wanted]
    if wanted is not None and len(wanted) != len(declared.shape.dim):
        raise EspgenError(
            f"input {item.name!r} has {len(declared.shape.dim)} dimensions, not {len(wanted)}",
            place=f"--shape {item.name}", hint="give one extent per dimension",
        )  # fmt: skip
    result = []
    for axis, dim in enumerate(declared.shape.dim):
        if dim.dim_param in shapes:
            used.add(dim.dim_param)
        fixed = int(dim.dim_value) if dim.HasField("dim_value") else extents.get(dim.dim_param) if dim.dim_param else None
        if wanted is not None:
            if dim.HasField("dim_value") and dim.dim_value != wanted[axis]:
                raise EspgenError(
                    f"dimension {axis} of input {item.name!r} is fixed at {dim.dim_value}",
                    place=f"--shape {item.name}",
                    hint=f"give {dim.dim_value}, or export the model with a symbolic dimension",
                )  # fmt: skip
            fixed = int(wanted[axis])
        elif fixed is None and axis == 0:
            fixed = 1
        if fixed is None:
            label = dim.dim_param or f"{axis}"
            option = f"--shape {dim.dim_param}=N" if dim.dim_param else f"--shape {item.name}=.. with all extents"
            raise EspgenError(f"dimension {label!r} of input {item.name!r} is symbolic", place=item.name, hint=option)
        result.append(fixed)
    return result
