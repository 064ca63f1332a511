"""TensorFlow Lite: .tflite files to the ONNX form that the reader takes (see docs/tflite.md)."""
