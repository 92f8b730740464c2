"""The fused form of BiRefNet: the plain modules, rewritten exactly, as ONNX operators."""

from .model import build

__all__ = ["build"]
