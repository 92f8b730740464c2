"""`rows`: a k x k deformable convolution as k of 1 x k, one row of taps after the other.

``sum over rows r of DeformConv1xk(x, offsets of r + (r - k // 2, 0))``: the distance of a row
from the middle one goes into the bias of its y offsets, so every sample is where it was, and the
sum is the same up to rounding. What it saves is memory: ONNX Runtime writes all samples of a
`DeformConv` into one buffer before it multiplies, 822 MB for 7 x 7 taps of 64 channels at
256 x 256, of which a row takes a seventh.
"""

from __future__ import annotations

import numpy as np

from ..builder import Graph, Value
from ..kernels import Kernel
from ..layers import after, conv
from . import native

SMALLEST = 5
"""Side of the smallest kernel that is cut: memory does not hang on the buffer of a 3 x 3 one."""


def deform_conv(g: Graph, x: Value, predict: Kernel, kernel: Kernel) -> Value:
    """A modulated deformable convolution that keeps the map's size; see the package."""
    side = kernel.weight.shape[-1]
    if side < SMALLEST:
        return native.deform_conv(g, x, predict, kernel)
    predicted = conv(g, x, _with_rows_moved(predict, side))
    *offsets, logits = g.ops(
        "Split", side + 1, predicted, [2 * side] * side + [side * side], axis=1
    )
    modulations = g.ops("Split", side, g.op("Sigmoid", logits), [side] * side, axis=1)
    first, *others = (
        Kernel(weight, kernel.bias if row == 0 else 0 * kernel.bias)
        for row, weight in enumerate(np.split(kernel.weight, side, 2))
    )
    total = native.deform_conv_node(g, x, first, offsets[0], modulations[0])
    for part, offset, modulation in zip(others, offsets[1:], modulations[1:], strict=True):
        total = total + native.deform_conv_node(g, x, part, after(g, total, offset, 2), modulation)
    return total


def _with_rows_moved(predict: Kernel, side: int) -> Kernel:
    """`predict`, the y offsets of each row of taps moved by the row's distance from the middle."""
    bias = predict.bias.copy()
    distance = np.arange(side) - side // 2
    bias[0 : 2 * side * side : 2] += np.repeat(distance, side)
    return Kernel(predict.weight, bias)
