"""The ONNX graph: built from kernels, without a tracer, checked and saved."""
