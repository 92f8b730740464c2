"""Layers of the fused form: each a few ONNX operators on the tensors of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

from ..network import nn
from .builder import Graph, Value
from .kernels import Kernel

END = 2**31 - 1
"""Slice bound beyond any size."""


def conv(
    g: Graph,
    x: Value,
    kernel: Kernel,
    stride: int = 1,
    dilation: int = 1,
    padding: int | None = None,
    group: int = 1,
) -> Value:
    """A convolution.

    Args:
        padding: zeros on each side of both axes; by default those with which the map keeps its
            size, and none with a stride, where patches don't overlap.
        group: of the channels; a depthwise convolution has as many as there are channels.
    """
    height, width = kernel.weight.shape[2:]
    if padding is not None:
        pads = [padding] * 4
    else:
        pads = [0] * 4 if stride > 1 else [dilation * (height // 2), dilation * (width // 2)] * 2
    bias = kernel.bias if kernel.bias.any() else None
    operands = [x, kernel.weight] if bias is None else [x, kernel.weight, bias]
    attributes: dict[str, Any] = {
        "kernel_shape": [height, width],
        "pads": pads,
        "strides": [stride] * 2,
    }
    if dilation > 1:
        attributes["dilations"] = [dilation] * 2
    if group > 1:
        attributes["group"] = group
    return g.op("Conv", *operands, **attributes)


def linear(g: Graph, x: Value, layer: nn.Linear) -> Value:
    """x @ weight.T + bias over the last axis."""
    weight, *bias = g.constants(
        layer, lambda: [layer.weight.T, layer.bias] if layer.has_bias else [layer.weight.T]
    )
    product = x @ weight
    return product + bias[0] if bias else product


def layer_norm(g: Graph, x: Value, norm: nn.LayerNorm) -> Value:
    """LayerNorm over the last axis."""
    return g.op("LayerNormalization", x, norm.weight, norm.bias, axis=-1, epsilon=norm.eps)


def gelu(g: Graph, x: Value) -> Value:
    """Exact GELU; one operator from opset 20 on, ``x / 2 * (1 + erf(x / √2))`` before."""
    if g.opset >= 20:
        return g.op("Gelu", x)
    return x * 0.5 * (g.op("Erf", x * (1 / sqrt(2))) + 1.0)


def relu(g: Graph, x: Value) -> Value:
    return g.op("Relu", x)


def spatial(g: Graph, x: Value) -> Value:
    """Height and width of (batch, channels, height, width): int64 (2,)."""
    return g.op("Shape", x, start=2)


def after(g: Graph, earlier: Value, x: Value, first: int) -> Value:
    """Return x, which then can't be used before `earlier` is computed.

    For work in parts: ONNX Runtime would start all parts before it ends one, and hold the
    intermediate tensors of all of them. Only data decides what comes first: x is reshaped to its
    own shape, which is read off `earlier`, equally long from axis `first` on. Nothing is copied.
    (Read off one axis alone, ONNX Runtime would write -1 in its place and see no reason to wait.)
    """
    return x.reshape(concat(g, [[0] * first, g.op("Shape", earlier, start=first)], 0))


def concat(g: Graph, parts: Sequence[object], axis: int) -> Value:
    return g.op("Concat", *parts, axis=axis)


def resize(g: Graph, x: Value, size: Value) -> Value:
    """Bilinear with aligned corners to `size`, int64 (2,), as every resize in BiRefNet."""
    shape = concat(g, [g.op("Shape", x, end=2), size], 0)
    return g.op(
        "Resize", x, None, None, shape,
        mode="linear", coordinate_transformation_mode="align_corners",
    )  # fmt: skip
