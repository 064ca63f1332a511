"""Static shapes of the graph's inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from onnx import ValueInfoProto

from espgen.errors import EspgenError
from espgen.frontend.importer import TensorType
from espgen.frontend.limits import check_shape
from espgen.frontend.tensors import numpy_type
from espgen.ir import Extents

Numbers = Sequence[float | int]
"""What an input is fixed at: one number, or one per element."""


def input_types(
    inputs: Sequence[ValueInfoProto], shapes: Mapping[str, Extents], example: Callable[[str], Sequence[int]]
) -> dict[str, TensorType]:
    """Type of every input, in order. An open first dimension is 1; others come from `shapes`.

    A dimension without an extent or with a negative one (some exporters write -1) is open. A name that stands twice in one
    input (some exporters call every open dimension "?") is no name: such dimensions are given with the input's whole shape.

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


def constant_inputs(types: Mapping[str, TensorType], constants: Mapping[str, Numbers]) -> dict[str, np.ndarray]:
    """Arrays of the inputs that are given as constants. EspgenError for other names, counts, and numbers beyond the type."""
    found = {}
    for name, numbers in constants.items():
        place = f"--const {name}"
        if name not in types:
            hint = f"the model has {', '.join(sorted(types)) or 'none'}"
            raise EspgenError(f"no input is called {name!r}", place=place, hint=hint)
        kind, given = types[name], np.asarray(numbers)
        elements = int(np.prod(kind.shape, dtype=np.int64))
        if given.size not in (1, elements):
            hint = f"give one number, or {elements}"
            raise EspgenError(f"{given.size} numbers for input {name!r} of shape {list(kind.shape)}", place=place, hint=hint)
        with np.errstate(all="ignore"):
            data = given.astype(kind.dtype)
        if kind.dtype.kind in "iub" and not np.array_equal(data.astype(np.float64), given.astype(np.float64)):
            hint = f"input {name!r} takes {kind.dtype.name}"
            raise EspgenError(f"{numbers[0]:g} is no {kind.dtype.name}", place=place, hint=hint)
        found[name] = np.array(np.broadcast_to(data.reshape(kind.shape if given.size == elements else ()), kind.shape))
    return found


def _dimension_names(inputs: Sequence[ValueInfoProto]) -> list[str]:
    return [name for item in inputs for name in _names(item) if name]


def _names(item: ValueInfoProto) -> list[str]:
    """What each dimension of an input is called, "" where it has no name or shares it with another of the same input."""
    names = [dim.dim_param for dim in item.type.tensor_type.shape.dim]
    return [name if names.count(name) == 1 else "" for name in names]


def _extent(item: ValueInfoProto, axis: int) -> int | None:
    """What the model fixes dimension `axis` at; None where it is open."""
    dim = item.type.tensor_type.shape.dim[axis]
    return int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value >= 0 else None


def _batch_names(inputs: Sequence[ValueInfoProto], shapes: Mapping[str, Extents]) -> dict[str, int]:
    """Named dimensions that are known: those given alone or in an input's shape, and 1 for those that lead some input's shape."""
    extents = {}
    for item in inputs:
        names = _names(item)
        if names and names[0]:
            extents[names[0]] = 1
    for item in inputs:
        wanted = shapes.get(item.name, ())
        if not isinstance(wanted, int) and len(wanted) == len(_names(item)):
            extents.update({name: int(extent) for name, extent in zip(_names(item), wanted, strict=True) if name})
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
    for axis, name in enumerate(_names(item)):
        if name in shapes:
            used.add(name)
        fixed = _extent(item, axis)
        if wanted is not None:
            if fixed is not None and fixed != wanted[axis]:
                raise EspgenError(
                    f"dimension {axis} of input {item.name!r} is fixed at {fixed}",
                    place=f"--shape {item.name}",
                    hint=f"give {fixed}, or export the model with a symbolic dimension",
                )  # fmt: skip
            fixed = int(wanted[axis])
        elif fixed is None:
            fixed = extents.get(name) if name else None
        if fixed is None and axis == 0:
            fixed = 1
        if fixed is None:
            option = f"--shape {name}=N" if name else f"--shape {item.name}={_example(item)} with its real extents"
            called = name or f"{axis}"
            raise EspgenError(f"dimension {called!r} of input {item.name!r} is symbolic", place=item.name, hint=option)
        result.append(fixed)
    return result


_SOME_EXTENT = 32


def _example(item: ValueInfoProto) -> str:
    """A shape that the input might have, as --shape takes it."""
    extents = [_extent(item, axis) or (_SOME_EXTENT if axis else 1) for axis in range(len(_names(item)))]
    return ",".join(map(str, extents))
