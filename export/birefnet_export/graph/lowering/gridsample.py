"""`gridsample`: for runtimes without `DeformConv`; a row of taps is one `GridSample`.

A row's samples, (batch, in, k * height, width), times their modulation are, reshaped, the matrix
(in * k, height * width) that the row's weights multiply. Rows are summed one after the other, as
in `rows`, so that one row's samples are held at a time.

`GridSample` wants (x, y) where -1 and 1 are the outer edges of the first and last pixel
(``align_corners=0``): pixel p is at ``(2 p + 1) / size - 1``. That holds for a map of one pixel
too, where the other convention divides by zero. Zeros outside the map blend in as in DCNv2.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from ..builder import Graph, Value
from ..kernels import Kernel
from ..layers import concat, conv, spatial


def deform_conv(g: Graph, x: Value, predict: Kernel, kernel: Kernel) -> Value:
    """A modulated deformable convolution that keeps the map's size; see the package."""
    out, channels, side, _ = kernel.weight.shape
    taps = side * side
    size = spatial(g, x)
    offsets, logits = g.ops(
        "Split", 2, conv(g, x, _as_x_y_from_pixel(predict, side)), [2 * taps, taps], axis=1
    )
    # (batch, taps, height, width, 2), then in the units of GridSample, then a part for each row.
    pairs = offsets.reshape(concat(g, [[0, taps, 2], size], 0)).transpose(0, 1, 3, 4, 2)
    sides = g.op("Cast", g.op("Gather", size, [1, 0]), to=TensorProto.FLOAT)  # width, height
    grid = pairs * g.op("Div", 2.0, sides) + _centers(g, size)
    grids = _split_taps(g, grid, side)
    modulations = _split_taps(g, g.op("Sigmoid", logits), side)

    width = g.op("Slice", size, [1], [2], [0])
    tall = concat(g, [[0, 1, -1], width], 0)  # (batch, 1, side * height, width)
    total: Value | None = None
    for row, weight in enumerate(np.moveaxis(kernel.weight, 2, 0)):
        batch = [0] if total is None else g.op("Shape", total, end=1)  # after the row before
        where = grids[row].reshape(concat(g, [batch, [-1], width, [2]], 0))
        samples = g.op(
            "GridSample", x, where,
            mode="linear" if g.opset >= 20 else "bilinear", padding_mode="zeros", align_corners=0,
        )  # fmt: skip
        samples = (samples * modulations[row].reshape(tall)).reshape([0, channels * side, -1])
        product = g.constant(weight.reshape(out, channels * side)) @ samples
        total = product + kernel.bias[:, None] if total is None else total + product
    assert total is not None
    return total.reshape(concat(g, [[0, 0], size], 0))


def _as_x_y_from_pixel(predict: Kernel, side: int) -> Kernel:
    """`predict`, its pairs as (x, y) and counted from the output's pixel instead of the tap's."""
    taps = side * side
    swapped = np.arange(2 * taps).reshape(taps, 2)[:, ::-1].ravel()
    order = np.concatenate((swapped, np.arange(2 * taps, 3 * taps)))
    bias = predict.bias[order]
    distance = np.arange(side) - side // 2
    bias[0 : 2 * taps : 2] += np.tile(distance, side)
    bias[1 : 2 * taps : 2] += np.repeat(distance, side)
    return Kernel(predict.weight[order], bias)


def _centers(g: Graph, size: Value) -> Value:
    """Each pixel's center in GridSample's units: float32 (height, width, 2), as (x, y)."""
    lines = []
    for axis, place in ((1, [1, -1]), (0, [-1, 1])):
        side = g.op("Gather", size, axis)
        odd = g.op("Range", 1, side * 2, 2)
        line = g.op("Cast", odd, to=TensorProto.FLOAT).reshape(place)
        line = g.op("Div", line, g.op("Cast", side, to=TensorProto.FLOAT)) - 1.0
        lines.append(g.op("Unsqueeze", g.op("Expand", line, size), [2]))
    return concat(g, lines, 2)


def _split_taps(g: Graph, x: Value, side: int) -> list[Value]:
    """(batch, side², ...) to one (batch, side, ...) for each row of taps."""
    return [x] if side == 1 else g.ops("Split", side, x, [side] * side, axis=1)
