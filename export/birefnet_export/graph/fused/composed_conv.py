"""Two 3 x 3 convolutions with nothing between them as one 5 x 5, exact at the borders.

``outer(inner(x))`` pads `inner`'s output with zeros. The composed 5 x 5 convolution of x instead
acts as if `inner` had been evaluated one pixel beyond the border too. What that ring contributes
reaches only the outermost rows and columns, and is itself a small convolution of the outermost
row or column of x; it is subtracted. The ring's corners are subtracted twice, so they are added
back once.

At full resolution this spares a map of 64 channels: 256 MiB at 1024 x 1024.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..builder import Graph, Value
from ..kernels import Kernel
from ..layers import END, concat, conv, spatial


def composed_convs(g: Graph, x: Value, inner: Kernel, outer: Kernel) -> Value:
    """``outer(inner(x))`` for 3 x 3 convolutions with padding 1; sides of x of at least 2."""
    size = spatial(g, x)
    beyond_y = _ring(g, x, inner, outer, axis=2)  # (batch, out, 2, width): first and last row
    beyond_x = _ring(g, x, inner, outer, axis=3)  # (batch, out, height, 2)
    corners = _corners(g, x, inner, outer)  # (batch, out, 2, 2)
    rows = beyond_y - _spread(g, corners, size, axis=3)
    border = _spread(g, rows, size, axis=2) + _spread(g, beyond_x, size, axis=3)
    weight = _compose(inner.weight, outer.weight)
    bias = outer.bias + outer.weight.sum((2, 3)) @ inner.bias
    return conv(g, x, Kernel(weight, bias)) - border


def _ring(g: Graph, x: Value, inner: Kernel, outer: Kernel, axis: int) -> Value:
    """What `inner` beyond the two ends of `axis` adds to the outermost rows or columns."""
    parts = []
    for end in (0, 1):
        # Above the map, inner's last row of taps meets x and outer's first row the output.
        near, far = (2, 0) if end == 0 else (0, 2)
        w1 = inner.weight.narrow(axis, near, 1)
        w2 = outer.weight.narrow(axis, far, 1)
        kernel = Kernel(_compose(w1, w2), w2.sum((2, 3)) @ inner.bias)
        parts.append(conv(g, _end(g, x, axis, end), kernel))
    return concat(g, parts, axis)


def _corners(g: Graph, x: Value, inner: Kernel, outer: Kernel) -> Value:
    """What `inner` at the ring's four corners adds to the corners of the output."""
    rows = []
    for end_y, (near_y, far_y) in enumerate(((2, 0), (0, 2))):
        row = []
        for end_x, (near_x, far_x) in enumerate(((2, 0), (0, 2))):
            w1 = inner.weight[:, :, near_y, near_x, None, None]
            w2 = outer.weight[:, :, far_y, far_x, None, None]
            kernel = Kernel(_compose(w1, w2), w2[:, :, 0, 0] @ inner.bias)
            corner = _end(g, _end(g, x, 2, end_y), 3, end_x)
            row.append(conv(g, corner, kernel))
        rows.append(concat(g, row, 3))
    return concat(g, rows, 2)


def _end(g: Graph, x: Value, axis: int, end: int) -> Value:
    """The first or last row (axis 2) or column (axis 3) of x."""
    start, stop = (0, 1) if end == 0 else (-1, END)
    return g.op("Slice", x, [start], [stop], [axis])


def _spread(g: Graph, pair: Value, size: Value, axis: int) -> Value:
    """Move the two entries of `axis` to its ends, zeros between, until it is as long as `size`."""
    first, last = g.ops("Split", 2, pair, [1, 1], axis=axis)
    gap = g.op("Slice", size, [axis - 2], [axis - 1], [0]) - 2
    shape = g.op("Shape", first)
    before, after = [g.op("Slice", shape, [a], [b], [0]) for a, b in ((0, axis), (axis + 1, END))]
    zeros = g.op("Expand", g.constant([0.0]), concat(g, [before, gap, after], 0))
    return concat(g, [first, zeros, last], axis)


def _compose(w1: Tensor, w2: Tensor) -> Tensor:
    """The kernel of ``w2 * (w1 * x)``: (out, in, k1 + k2 - 1, l1 + l2 - 1).

    Convolution layers correlate, so the kernels of a composition convolve in full.
    """
    height, width = w2.shape[2:]
    full = F.conv2d(w1.transpose(0, 1), w2.flip(2, 3), padding=(height - 1, width - 1))
    return torch.as_tensor(full.transpose(0, 1))
