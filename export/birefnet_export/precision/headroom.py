"""fp16's head-room: how far the values of a graph stay from where float16 ends, on photographs.

Drawn pictures of a few hundred pixels don't show it: what overflows needs a real photograph at the
size that the network was trained at. So every node of the float32 graph is watched there, and what
comes nearer to float16's end than a factor allows stays in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from math import inf
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from ..errors import PrecisionError
from ..graph.fused.backbone.windows import MASKED
from ..graph.weights import WeightStore
from ..verify.headroom import FACTOR, HALF_END, WORST, HeadRoom, NodeRoom
from ..verify.logits import LOGITS_TOLERANCES, Array, sample_image
from ..verify.quality import Quality, quality
from .calibration import Images, images_of, observe
from .fp16 import MOVING, needs_float32, poorly_halved, to_half
from .graph_rewriter import Rewriting, float_values

MOST_PHOTOGRAPHS = 8
"""Of a folder, spread evenly over it."""
PHOTOGRAPHS = Path(__file__).parent / "photos"


def headroom_images(folder: Path | None, size: tuple[int, int]) -> list[Sequence[Array]]:
    """What the head-room is measured on: photographs at the trained size, and others.

    Args:
        folder: of photographs; without it those of the package.
        size: (height, width) that the network was trained at.

    Returns:
        Photographs at the trained size; and, to be watched alone, one at half of it, one with half
        the height and a drawn picture with half the width.
    """
    files = images_of(folder or PHOTOGRAPHS)
    if not files:
        raise PrecisionError(f"{folder}: no image in this folder; fp16 is measured on photographs")
    places = np.linspace(0, len(files) - 1, min(len(files), MOST_PHOTOGRAPHS)).round().astype(int)
    photographs = Images([files[place] for place in places], size)
    height, width = (max(32, side // 64 * 32) for side in size)
    return [
        photographs,
        Images([files[0]], (height, width)),
        Images([files[-1]], (height, size[1])),
        [sample_image((1, size[0], width))],
    ]


class Halved(NamedTuple):
    """A model in float16, what that does to masks, and how much room there is."""

    model: onnx.ModelProto
    quality: Quality
    headroom: HeadRoom


def halved(
    model: onnx.ModelProto,
    weights: WeightStore,
    images: Sequence[Sequence[Array]],
    step: Callable[[str], None] = lambda what: None,
) -> Halved:
    """A float32 model in float16, but float32 where values come near float16's end.

    Masks are compared on the first of `images`, in a graph that sums large deformable convolutions
    row by row; in the file they are whole, and round once instead of seven times.

    Args:
        images: as `headroom_images` gives them.

    Raises:
        PrecisionError: masks are off by more than float16's tolerance on average.
    """
    count = sum(map(len, images))
    step(f"measuring fp16's head-room on {count} images")
    rowed, parts = in_rows(model, weights)
    exact, largest = largest_values(rowed, images, weights)
    near = {parts.get(name, name) for name in lacking(rowed, largest)}
    float32 = needs_float32(model) | with_poor_weights(model, weights) | near
    step(f"comparing fp16 with fp32 on {len(images[0])} photographs")
    of_parts = {n.name for n in rowed.graph.node if parts.get(n.name, n.name) in float32}
    tried = to_half(rowed, of_parts, weights)
    logits = observe(tried, images[0], weights=weights, in_order=True).logits
    found = quality(logits, exact)
    allowed = LOGITS_TOLERANCES["fp16"].mask_mean_abs
    if found.mae_mean > allowed:
        raise PrecisionError(
            f"fp16's masks of {found.images} photographs are off by {found.mae_mean:.1e} on "
            f"average, more than the {allowed:.0e} allowed; export fp32, or int8 for CPUs"
        )
    model_half = to_half(model, float32, weights)
    return Halved(model_half, found, head_room(model, largest, near, images))


def largest_values(
    model: onnx.ModelProto, images: Sequence[Sequence[Array]], weights: WeightStore
) -> tuple[list[Array], dict[str, float]]:
    """Run a float32 graph on images, watching every value.

    Returns:
        The logits of the first of the sequences of images; and the largest absolute value of each
        value between, over all images. Of scores of attention the mask that is added doesn't count.
    """
    floats = float_values(model)
    given = [n for node in model.graph.node for n in node.output if n in floats]
    values = [name for name in given if name != model.graph.output[0].name]
    masked = _masked(model, weights)
    logits: list[Array] = []
    largest = dict.fromkeys(values, 0.0)
    for group in images:
        seen = observe(model, group, values, weights=weights, by_channel=False)
        logits = logits or seen.logits
        for name, (low, high) in seen.ranges.items():
            ends = (high,) if name in masked else (low, high)
            peak = max(float(np.abs(end).max()) for end in ends)
            largest[name] = max(largest[name], peak) if peak == peak else inf
    return logits, largest


def lacking(model: onnx.ModelProto, largest: Mapping[str, float]) -> frozenset[str]:
    """Names of the nodes that take or give a value without enough head-room."""
    near = {name for name, peak in largest.items() if not peak * FACTOR <= HALF_END}
    return frozenset(node.name for node in model.graph.node if near & {*node.input, *node.output})


def with_poor_weights(model: onnx.ModelProto, weights: WeightStore) -> frozenset[str]:
    """Names of the nodes that multiply by constants that float16 doesn't hold."""
    work = Rewriting(model, weights)
    floats = (onnx.TensorProto.FLOAT,)
    poor = {
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_type in floats and poorly_halved(work.array(tensor.name))
    }
    return frozenset(node.name for node in model.graph.node if poor & set(node.input))


def head_room(
    model: onnx.ModelProto,
    largest: Mapping[str, float],
    float32: Set[str],
    images: Sequence[Sequence[Array]],
) -> HeadRoom:
    """The table for a report, of what `largest_values` gave."""
    peaks = [
        NodeRoom(node.name, node.op_type, max(largest.get(name, 0.0) for name in node.output))
        for node in model.graph.node
        if node.op_type not in MOVING
    ]
    peaks.sort(key=lambda node: -node.largest)
    shapes = [image.shape for group in images for image in group]
    ordered = tuple(node.name for node in model.graph.node if node.name in float32)
    return HeadRoom(tuple(peaks[:WORST]), ordered, len(shapes), tuple(s[2:] for s in shapes))


def _masked(model: onnx.ModelProto, weights: WeightStore) -> set[str]:
    """Values that hold attention's mask: made from it by moving, choosing and adding alone."""
    work = Rewriting(model, weights)
    small = [t.name for t in model.graph.initializer if np.prod(t.dims) <= 1]
    masked = {name for name in small if np.all(work.array(name) == np.float32(MASKED))}
    for node in model.graph.node:
        if node.op_type in MOVING | {"Add", "Where"} and masked & set(node.input):
            masked.update(node.output)
    return masked


def in_rows(model: onnx.ModelProto, weights: WeightStore) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The model with each large `DeformConv` as a sum over rows of taps, as lowering `rows` has it.

    So a graph that is meant for GPUs is tried on a CPU in a fraction of the memory: ONNX Runtime
    writes all samples of a `DeformConv` at once. Values keep their names.

    Returns:
        The model; and, by the names of its new nodes, the node that each is a part of.
    """
    work = Rewriting(model, weights)
    parts: dict[str, str] = {}
    for node in work.nodes:
        kernel = next((list(a.ints) for a in node.attribute if a.name == "kernel_shape"), [])
        if node.op_type != "DeformConv" or kernel[0] < _SMALLEST_CUT:
            work.copy(node)
            continue
        before = set(work.names())
        _rows(work, node, kernel[0])
        parts |= dict.fromkeys(set(work.names()) - before, node.name)
    return work.finished(), parts


_SMALLEST_CUT = 5


def _rows(work: Rewriting, node: onnx.NodeProto, side: int) -> None:
    """A `DeformConv` row by row: the distance of a row from the middle goes into its offsets."""
    x, weight, offset, bias, modulation = node.input
    kernels: NDArray[np.float32] = work.array(weight)
    total = ""
    for row in range(side):
        stem = f"{node.output[0]}:row{row}"
        moved = np.zeros((2 * side, 1, 1), np.float32)
        moved[::2] = row - side // 2
        cut = _slice(work, offset, f"{stem}:offset", 2 * side * row, 2 * side * (row + 1))
        shift = work.constant(f"shift{row - side // 2}of{side}", moved)
        where = work.emit("Add", [cut, shift], f"{stem}:where")
        share = _slice(work, modulation, f"{stem}:share", side * row, side * (row + 1))
        part = work.constant(f"{weight}:row{row}", kernels[:, :, row : row + 1])
        operands = [x, part, where, bias if row == 0 else "", share]
        last = row == side - 1
        summand = work.emit(
            "DeformConv", operands, f"{stem}:taps", kernel_shape=[1, side],
            pads=[0, side // 2, 0, side // 2], strides=[1, 1], dilations=[1, 1],
        )  # fmt: skip
        name = node.output[0] if last else f"{stem}:sum"
        total = work.emit("Add", [total, summand], name) if total else summand


def _slice(work: Rewriting, x: str, result: str, start: int, end: int) -> str:
    """Channels `start` to `end` of a map."""
    bounds = [work.constant(f"index{i}", np.array([i], np.int64)) for i in (start, end, 1)]
    return work.emit("Slice", [x, *bounds], result)
