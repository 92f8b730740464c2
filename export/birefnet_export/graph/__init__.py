"""The ONNX graph: built from kernels, without a tracer, simplified and saved."""
