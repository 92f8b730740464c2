"""How a deformable convolution becomes ONNX operators; one file per lowering."""
