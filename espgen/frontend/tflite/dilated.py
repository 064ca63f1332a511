"""Dilated convolutions as older converters write them: SPACE_TO_BATCH_ND, a plain convolution, BATCH_TO_SPACE_ND."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from espgen.frontend.tflite import schema
from espgen.frontend.tflite.model import Model, Operator, Spread

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def joined(model: Model) -> Model:
    """The graph with each such group as one convolution; what is no such group stays as it is."""
    makers = {index: operator for operator in model.operators for index in operator.outputs}
    reads = Counter(index for operator in model.operators for index in operator.inputs)
    reads.update(model.outputs)
    changed: dict[str, Operator] = {}
    gone: set[str] = set()
    for behind in model.operators:
        if behind.op != "BATCH_TO_SPACE_ND" or len(behind.inputs) != 3:
            continue
        product = makers.get(behind.inputs[0])
        before = makers.get(product.inputs[0]) if product is not None and product.op in _CONVOLUTIONS and product.inputs else None
        if product is None or before is None or before.op != "SPACE_TO_BATCH_ND" or len(before.inputs) != 3:
            continue
        spread = _spread(model, before, product, behind)
        if spread is None or reads[product.inputs[0]] != 1 or reads[behind.inputs[0]] != 1:
            continue
        inputs = (before.inputs[0], *product.inputs[1:])
        changed[behind.name] = replace(product, inputs=inputs, outputs=behind.outputs, spread=spread)
        gone |= {before.name, product.name}
    operators = (changed.get(operator.name, operator) for operator in model.operators if operator.name not in gone)
    return replace(model, operators=tuple(operators)) if changed else model


def _spread(model: Model, before: Operator, product: Operator, behind: Operator) -> Spread | None:
    """Dilation and padding of the convolution that the three amount to; None where they are none."""
    blocks, pads = (_integers(model, index) for index in before.inputs[1:])
    blocks_behind, crops = (_integers(model, index) for index in behind.inputs[1:])
    if len(blocks) != 2 or blocks != blocks_behind or len(pads) != 4 or len(crops) != 4:
        return None
    plain = product.option("padding") == schema.VALID and all(
        product.option(f"{what}_{side}") == 1 for what in ("stride", "dilation") for side in ("h", "w")
    )
    # [[top, bottom], [left, right]] -> top, left, bottom, right; what is cropped was computed for nothing.
    amounts = tuple(pads[at] - crops[at] for at in (0, 2, 1, 3))
    if not plain or min(amounts) < 0 or min(blocks) < 1:
        return None
    return Spread((blocks[0], blocks[1]), amounts)


def _integers(model: Model, index: int) -> tuple[int, ...]:
    data = model.tensors[index].data if index >= 0 else None
    return () if data is None or data.dtype.kind not in "iu" else tuple(int(value) for value in data.reshape(-1))
