"""`native`: one `DeformConv` node (opset 19 and later) per deformable convolution."""

from __future__ import annotations

from ..fold import Kernel
from ..graph import Graph, Value


def deform_conv(g: Graph, x: Value, kernel: Kernel, offset: Value, mask: Value) -> Value:
    """A modulated deformable convolution that keeps the map's size.

    Args:
        x: float32 (batch, in, height, width).
        kernel: square, of odd side k.
        offset: float32 (batch, 2 * k², height, width), (y, x) pairs in pixels, tap by tap.
        mask: float32 (batch, k², height, width).
    """
    side = kernel.weight.shape[-1]
    return g.op(
        "DeformConv", x, kernel.weight, offset, kernel.bias, mask,
        kernel_shape=[side, side], pads=[side // 2] * 4, strides=[1, 1], dilations=[1, 1],
    )  # fmt: skip
