"""espgen: quantized neural networks to ESP32-P4 firmware, verified byte for byte."""
