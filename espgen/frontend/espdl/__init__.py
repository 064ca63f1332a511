"""ESP-DL's model files (.espdl): FlatBuffers of quantized graphs in the layouts of the ESP32-P4."""

from espgen.frontend.espdl.container import MAGICS
from espgen.frontend.espdl.reader import load_espdl

__all__ = ["MAGICS", "load_espdl"]
