"""Pillow's resize as matrix products: the same filters, the same numbers, any size.

`Resize` of ONNX has these filters (`antialias`), but not Pillow's numbers: it is faster, and some
pixels of masks were 3 levels of 255 off (`benchmarks/results/end_to_end.json`). So the filters are
written out. Along a line of pixels a resize is a product with a
matrix whose row j holds the weights of all source pixels for result j, as in Pillow's `Resample.c`
(`precompute_coeffs`):

    x = |(i + 1/2) - (j + 1/2) source / target| / max(source / target, 1)
    weight = filter(x) / (sum of filter(x) over i)

Times twice the target every distance is an integer, which the graph computes exactly at any size:
``x = |(2 i + 1) target - (2 j + 1) source| / (2 max(source, target))``.

Rows are resized first, then columns. So did Pillow until version 13, which begins with the columns
where the height shrinks much more than the width.

Few weights of a row are not zero. So results are computed in parts, each from the source pixels
that it can see: a fraction of the products, and of a large image a fraction in float32 at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from onnx import TensorProto

from .builder import Graph, Value
from .layers import concat

Sides = tuple[Value, Value]
"""Height and width, int64 (1,) each."""


class Filter(NamedTuple):
    """A filter of Pillow's for one kind of pixels."""

    radius: int
    """Beyond which it is zero, in pixels of the coarser of the two grids."""
    matrices: Callable[[Graph, Value, Value], Sequence[Value]]
    """From distances, ``2 target`` times those in source pixels, int64 (target, source), and twice
    the longer side, int64 (1,), to float32 matrices of the same shape."""
    result: Callable[..., Value]
    """From the products with these matrices to pixels."""


def resize_by_products(
    g: Graph,
    x: Value,
    source: Sides,
    target: Sides,
    kind: Filter,
    parts: tuple[int, int],
    finish: Callable[[Value], Value] = lambda x: x,
) -> Value:
    """Resize images, their rows first.

    Args:
        x: (batch, channels, height, width), of any type.
        source: its height and width.
        target: the result's.
        kind: the filter.
        parts: in how many parts the height and the width of the result are computed.
        finish: done to the result, part by part.

    Returns:
        float32 of the same axes, or what `finish` makes of it.
    """
    rows = _Line(g, source[0], target[0], kind)
    columns = _Line(g, source[1], target[1], kind)
    wide = []
    for seen, matrices in columns.cut_into(parts[1]):
        pixels = g.op("Cast", _cut(g, x, seen, 3), to=TensorProto.FLOAT)
        wide.append(kind.result(g, *(pixels @ matrix.transpose(1, 0) for matrix in matrices)))
    x = concat(g, wide, 3)
    tall = []
    for seen, matrices in rows.cut_into(parts[0]):
        pixels = _cut(g, x, seen, 2)
        tall.append(finish(kind.result(g, *(matrix @ pixels for matrix in matrices))))
    return concat(g, tall, 2)


class _Line(NamedTuple):
    """A line of pixels to be resized, from so many to so many; int64 (1,)."""

    g: Graph
    source: Value
    target: Value
    kind: Filter

    def cut_into(self, parts: int) -> Iterator[tuple[Sides, Sequence[Value]]]:
        """For each part of the results, which source pixels it sees, and the matrices."""
        g, source, target = self.g, self.source, self.target
        bounds = g.constant(range(parts + 1)) * target // parts
        longer = g.op("Max", source, target)
        reach = longer * self.kind.radius // target + 1
        starts = g.op("Slice", bounds, [0], [parts])
        stops = g.op("Slice", bounds, [1], [parts + 1])
        firsts = g.op("Max", starts * source // target - reach, 0)
        ends = g.op("Min", stops * source // target + reach, source)
        for start, stop, first, end in zip(
            *(g.ops("Split", parts, x, [1] * parts, axis=0) for x in (starts, stops, firsts, ends)),
            strict=True,
        ):
            results = (_odd(g, start, stop) * source).reshape([-1, 1])
            distance = g.op("Abs", results - _odd(g, first, end) * target)
            yield (first, end), self.kind.matrices(g, distance, longer * 2)


def _odd(g: Graph, first: Value, end: Value) -> Value:
    """Twice the centers of the pixels from `first` to before `end`; int64."""
    return g.op("Range", *(g.op("Squeeze", x, [0]) * 2 + 1 for x in (first, end)), 2)


def _cut(g: Graph, x: Value, ends: Sides, axis: int) -> Value:
    return g.op("Slice", x, *ends, [axis])


_BITS = 11
"""Half of the 22 that Pillow's weights have on 8-bit pixels (`PRECISION_BITS`)."""


def _triangle(g: Graph, distance: Value, reach: Value) -> Sequence[Value]:
    """``max(0, 1 - x)`` in 22 bits: those of high value, and those of low value.

    A product of 8-bit pixels and 22-bit weights has 30 bits, and float32 holds 24. In halves
    each product is a sum of integers below 2^24 and exact, also where a GPU multiplies in TF32.
    """
    half = 1 << _BITS
    weight = g.op("Max", reach - distance, 0)
    total = g.op("ReduceSum", weight, [1], keepdims=1)
    fixed = (weight * (2 * half * half) + total) // (total * 2)  # weight / total, rounded
    high = fixed // half
    return [g.op("Cast", x, to=TensorProto.FLOAT) for x in (high, fixed - high * half)]


def _rounded(g: Graph, high: Value, low: Value) -> Value:
    """``(high 2^11 + low) / 2^22``, rounded as Pillow does it, a half upwards."""
    half = 1 << _BITS
    carried = high + g.op("Floor", low * (1 / half))
    return g.op("Floor", (carried + half / 2) * (1 / half))


def _keys(g: Graph, distance: Value, reach: Value) -> Sequence[Value]:
    """Keys's cubic with a = -1/2 (IEEE Trans. ASSP 29, 1981), in float32."""
    x = g.op("Div", *(g.op("Cast", v, to=TensorProto.FLOAT) for v in (distance, reach)))
    near = (x * 1.5 - 2.5) * x * x + 1.0
    far = (g.op("Sub", 2.5, x * 0.5) * x - 4.0) * x + 2.0
    outer = g.op("Where", g.op("Less", x, 2.0), far, 0.0)
    weight = g.op("Where", g.op("Less", x, 1.0), near, outer)
    return [g.op("Div", weight, g.op("ReduceSum", weight, [1], keepdims=1))]


BILINEAR = Filter(1, _triangle, _rounded)
"""Of 8-bit pixels: the result of each direction is rounded."""
BICUBIC = Filter(2, _keys, lambda g, x: g.op("Clip", x, 0.0, 1.0))
"""Of float pixels in [0, 1]: overshoot is cut off after each direction."""
