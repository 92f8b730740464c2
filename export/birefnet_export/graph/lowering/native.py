"""`native`: one `DeformConv` node (opset 19 and later) per deformable convolution."""

from __future__ import annotations

from ..builder import Graph, Value
from ..kernels import Kernel
from ..layers import conv


def deform_conv(g: Graph, x: Value, predict: Kernel, kernel: Kernel) -> Value:
    """A modulated deformable convolution that keeps the map's size; see the package."""
    taps = len(predict.bias) // 3
    offset, modulation = g.ops("Split", 2, conv(g, x, predict), [2 * taps, taps], axis=1)
    return deform_conv_node(g, x, kernel, offset, g.op("Sigmoid", modulation))


def deform_conv_node(g: Graph, x: Value, kernel: Kernel, offset: Value, modulation: Value) -> Value:
    """The `DeformConv` node of a kernel, (height, width) as of its weight; an even side has its
    middle behind the center."""
    height, width = kernel.weight.shape[2:]
    bias = kernel.bias if kernel.bias.any() else None
    return g.op(
        "DeformConv", x, kernel.weight, offset, bias, modulation,
        kernel_shape=[height, width],
        pads=[height // 2, width // 2, (height - 1) // 2, (width - 1) // 2],
        strides=[1, 1], dilations=[1, 1],
    )  # fmt: skip
