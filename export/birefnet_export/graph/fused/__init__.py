"""The fused form of BiRefNet: the plain modules, rewritten exactly, as ONNX operators."""
