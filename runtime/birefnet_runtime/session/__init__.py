"""ONNX Runtime sessions that run on what was asked for."""
