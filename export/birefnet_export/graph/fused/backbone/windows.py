"""Windows as gathers: padding, cyclic shift, partition and their inverse in one step each.

The plain form pads tokens, rolls them and cuts them into windows by reshapes and copies, and puts
them back by as many. Here either way is one gather of rows on the token axis. The indices depend
on the map's size alone, so all blocks of a stage share them, and so do the two scales wherever
they meet the same size: stage ``i`` of the half scale and stage ``i + 1`` of the full one.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...builder import Graph, Value
from ...layers import END, concat

MASKED = -1e4
"""Added to the scores of tokens that don't see each other; upstream adds -100.

``exp(-100)`` is subnormal in float32, and x86 processors multiply subnormal weights several times
more slowly (`benchmarks/results/remainder.json`). Results are the same to the last bit as long as
no two scores of a row are more than 80 apart.
"""


@dataclass(frozen=True, slots=True)
class Windows:
    """Where the tokens of a map go, for one amount of shift."""

    cut: Value
    """int64 (windows * window²,): the token at each window position; height * width is padding."""
    join: Value
    """int64 (height * width,): the window position of each token."""
    mask: Value | None
    """float32 (batch * windows, 1, window², window²) to add to the scores; None without shift."""


@dataclass(frozen=True, slots=True)
class WindowIndex:
    """A map of tokens with its two ways of being cut into windows."""

    size: Value
    """int64 (2,): height and width in tokens."""
    still: Windows
    shifted: Windows


def window_index(g: Graph, batch: Value, size: Value, window: int) -> WindowIndex:
    """The windows of `batch` (1,) maps of `size` tokens, still and shifted by half a window."""
    count = g.op("ReduceProd", size, keepdims=0)
    tokens = g.op("Range", 0, count, 1).reshape(size)
    windows = (size + (window - 1)) // window  # int64 (2,): rows and columns of windows
    padded = windows * window
    pads = concat(g, [[0, 0], padded - size], 0)
    grid = g.op("Pad", tokens, pads, count)  # padding reads the row behind the last token
    cells = concat(g, [windows, [window, window]], 0)
    cells = g.op("Gather", cells, [0, 2, 1, 3])  # rows, window, columns, window

    shift = window // 2
    cut = _partition(g, grid, cells, window).reshape([-1])
    still = Windows(cut, _inverse(g, cut, count), None)
    rolled = _roll(g, _roll(g, grid, shift, 0), shift, 1)
    cut = _partition(g, rolled, cells, window).reshape([-1])
    mask = _shift_mask(g, padded, cells, window, shift)
    # For a batch of its own here, once for all blocks of the stage and all heads.
    each = g.op("Expand", g.op("Unsqueeze", mask, [0]), concat(g, [batch, [1, 1, 1, 1]], 0))
    each = each.reshape([-1, 1, window**2, window**2])
    return WindowIndex(size, still, Windows(cut, _inverse(g, cut, count), each))


def merge_index(g: Graph, size: Value) -> Value:
    """The four tokens that patch merging stacks on the channels of each merged token.

    int64 (merged tokens * 4,), in the order (y, x) = (0, 0), (1, 0), (0, 1), (1, 1);
    height * width stands for the zeros that pad an odd side.
    """
    count = g.op("ReduceProd", size, keepdims=0)
    tokens = g.op("Range", 0, count, 1).reshape(size)
    merged = (size + 1) // 2
    grid = g.op("Pad", tokens, concat(g, [[0, 0], merged * 2 - size], 0), count)
    cells = g.op("Gather", concat(g, [merged, [2, 2]], 0), [0, 2, 1, 3])
    return grid.reshape(cells).transpose(0, 2, 3, 1).reshape([-1])


def _partition(g: Graph, grid: Value, cells: Value, window: int) -> Value:
    """(padded height, padded width) to (windows, window²)."""
    return grid.reshape(cells).transpose(0, 2, 1, 3).reshape([-1, window * window])


def _roll(g: Graph, grid: Value, shift: int, axis: int) -> Value:
    """Move the first `shift` rows or columns to the end."""
    ahead = g.op("Slice", grid, [shift], [END], [axis])
    return concat(g, [ahead, g.op("Slice", grid, [0], [shift], [axis])], axis)


def _inverse(g: Graph, cut: Value, count: Value) -> Value:
    """The window position of each token: ``join[cut[i]] = i``, padding dropped."""
    length = g.op("Shape", cut)
    positions = g.op("Range", 0, g.op("Squeeze", length), 1)
    # Every entry that is kept is written exactly once; entry `count` collects the padding.
    tokens = count.reshape([1])
    target = g.op("Expand", g.constant([0]), tokens + 1)
    return g.op("Slice", g.op("ScatterElements", target, cut, positions), [0], tokens)


def _shift_mask(g: Graph, padded: Value, cells: Value, window: int, shift: int) -> Value:
    """`swin.shift_mask` for a symbolic size: float32 (windows, 1, window², window²)."""
    ahead = g.ops("Split", 2, padded - window, [1, 1])
    last = [1] * (window - shift) + [2] * shift
    band_y = concat(g, [g.op("Expand", g.constant([0]), ahead[0]), [3 * b for b in last]], 0)
    band_x = concat(g, [g.op("Expand", g.constant([0]), ahead[1]), last], 0)
    region = _partition(g, g.op("Unsqueeze", band_y, [1]) + band_x, cells, window)
    same = g.op("Equal", g.op("Unsqueeze", region, [1, 3]), g.op("Unsqueeze", region, [1, 2]))
    return g.op("Where", same, 0.0, MASKED)
