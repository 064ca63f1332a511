"""Intermediate representation: dtype, QuantParams, Value, Node, Graph; verify; text dump."""

from espgen.ir.dtype import DType
from espgen.ir.dump import dump
from espgen.ir.graph import Extents, Graph, Node, QuantParams, Value, constant_value, fresh_name, unused_name
from espgen.ir.verify import verify

__all__ = [
    "DType", "Extents", "Graph", "Node", "QuantParams", "Value", "constant_value", "dump", "fresh_name", "unused_name", "verify",
]  # fmt: skip
