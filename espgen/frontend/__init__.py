"""File formats -> source graph: the only place that knows ONNX files."""

from espgen.frontend.reader import load_onnx

__all__ = ["load_onnx"]
