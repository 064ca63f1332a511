"""File formats -> source graph: the only place that knows them. `load` takes every format, `load_onnx` only ONNX."""

from espgen.frontend.load import load, load_all
from espgen.frontend.reader import load_onnx

__all__ = ["load", "load_all", "load_onnx"]
