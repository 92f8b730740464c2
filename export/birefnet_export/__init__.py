"""Checkpoint in, verified ONNX graph out."""
