"""int8 weights by error feedback: what rounding one does wrong, the next ones make up for.

GPTQ (arXiv 2210.17323): a weight's columns are rounded one after the other, and each one's error is
put onto those that are not rounded yet, so that the layer's output on real inputs changes least. It
takes the inputs' second moments, which are gathered here on reduced pictures, and costs nothing
when the file runs. Sums of neighboring weights keep within `PAIR_LIMIT`.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import ceil, prod
from typing import Any

import numpy as np
import onnx
from birefnet_runtime.machine import release_memory
from birefnet_runtime.session.open import open_session
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from ..graph.signature import INPUT, SIZE_MULTIPLE
from ..graph.weights import WeightsInGraph, WeightStore
from ..verify.export_check import RUN_ON
from ..verify.logits import Array
from .graph_rewriter import Rewriting
from .int8 import (
    PAIR_LIMIT,
    Int8Plan,
    LayerWeight,
    RoundedWeight,
    largest_sums,
    neighbors,
    steps_of,
    weight_of,
)

SIDE = 256
"""Pictures are reduced to about this side: moments hardly depend on it, and all layers' inputs at
1024 x 1024 would take a gigabyte."""
LARGEST_MOMENTS = 576
"""Inputs of a layer that make up for each other's errors: one with more is rounded in parts, whose
moments with each other aren't taken. Of nano's masks 6,912 at once were off by as much, and took
four times as long."""
MOMENTS_AT_ONCE = 128e6
"""Bytes of moments that are gathered in one pass over the pictures."""
SAMPLES = 3000
"""Places of a map, for each picture, that its moments are taken of."""
DAMPING = 0.01
"""Added to the moments' diagonal, as a share of its mean: so that directions which these pictures
don't have aren't free."""
SCALES = (1.0, 0.85, 0.7)
"""Steps that are tried for each channel, of those that its largest pair allows: with finer ones the
largest weights are cut, and the others make up for that. Of nano's convolutions it took a tenth of
the masks' error."""
_BLOCK = 128
"""Columns whose errors are put onto the later ones together."""
_FULL = 127
_SEED = 0


def rounded_weights(
    model: onnx.ModelProto,
    images: Sequence[Array],
    plan: Int8Plan,
    weights: WeightStore | None = None,
) -> dict[str, RoundedWeight]:
    """Weights of MatMul and Conv nodes as int8, by the weights' names.

    Args:
        images: float32 (1, 3, height, width) each.
        plan: the nodes whose weights are wanted, and the steps that their inputs have.
        weights: what keeps the model's weights; by default they are in it.

    Returns:
        All but those of convolutions that are dilated or in groups, which are for `round_for_sums`.
    """
    work = Rewriting(model, weights)
    readers: dict[str, list[tuple[NodeProto, LayerWeight]]] = defaultdict(list)
    for node in work.nodes:
        wanted = node.name in plan.products or node.name in plan.convolutions
        weight = weight_of(work, node) if wanted else None
        if weight and not _is_spread(node):
            readers[weight.name].append((node, weight))
    rounded: dict[str, RoundedWeight] = {}
    small = [_reduced(image) for image in images]
    for names in _passes({name: found[0][1] for name, found in readers.items()}):
        using = {name: [node for node, _ in readers[name]] for name in names}
        parts = {name: spans(readers[name][0][1]) for name in names}
        for name, moments in _moments(model, small, using, parts, weights).items():
            node, weight = readers[name][0]
            if node.input[0] in plan.parts:
                steps = np.repeat(plan.part_steps(node.input[0])[0], prod(weight.shape[2:]))
                moments = [
                    part / np.outer(steps[span], steps[span])
                    for part, span in zip(moments, spans(weight), strict=True)
                ]
            rounded[name] = round_by_feedback(plan.weight_in_steps(node, weight), moments)
    return rounded


def round_by_feedback(weight: LayerWeight, moments: Sequence[NDArray[Any]]) -> RoundedWeight:
    """A weight as int8 that changes its layer's output least.

    Args:
        moments: of each of the weight's `spans` of inputs, (inputs, inputs): the sum of x x^T over
            inputs x, in the order in which the weight has them.
    """
    values = weight.read()
    rows = np.moveaxis(values, weight.axis, 0).reshape(values.shape[weight.axis], -1)
    rows = np.asarray(rows, np.float64)
    pairs = neighbors(weight)
    parts = spans(weight)
    moments = [np.asarray(one, np.float64) for one in moments]
    factors = [_feedback_factor(one) for one in moments]
    largest = steps_of(largest_sums(rows, pairs))
    best, least = np.zeros_like(rows), np.full(len(rows), np.inf)
    scale = largest.copy()
    for share in SCALES:
        tried = largest * share
        in_steps = rows / tried[:, None]
        found = np.zeros(rows.shape)
        for span, factor in zip(parts, factors, strict=True):
            _round(in_steps, found, span, pairs, factor)
        off = rows - found * tried[:, None]
        error = sum(
            np.einsum("ij,ij->i", off[:, s] @ m, off[:, s])
            for s, m in zip(parts, moments, strict=True)
        )
        better = error < least
        best[better], scale[better], least[better] = found[better], tried[better], error[better]
    channels = np.moveaxis(values, weight.axis, 0).shape
    whole = np.moveaxis(best.reshape(channels), 0, weight.axis).astype(np.int8)
    return RoundedWeight(np.ascontiguousarray(whole), scale.astype(np.float32))


def _round(
    rows: NDArray[np.float64],
    found: NDArray[np.float64],
    span: slice,
    pairs: Sequence[NDArray[np.int64]],
    factor: NDArray[np.float64],
) -> None:
    """Whole numbers for a span of `rows` (outputs, inputs), which are in units of a step, into
    `found`."""
    rows = rows[:, span].copy()
    first, count = span.start, rows.shape[1]
    for start in range(0, count, _BLOCK):
        end = min(start + _BLOCK, count)
        errors = np.zeros((len(rows), end - start))
        for i in range(start, end):
            low, high = np.full(len(rows), -_FULL), np.full(len(rows), _FULL)
            for order in pairs:
                # Of a pair the second one keeps within what the first has left; columns that come
                # later are still zero, and so leave all.
                if (other := order[first + i]) >= 0:
                    high = np.minimum(high, PAIR_LIMIT - np.maximum(found[:, other], 0))
                    low = np.maximum(low, -PAIR_LIMIT - np.minimum(found[:, other], 0))
            found[:, first + i] = whole = np.clip(np.rint(rows[:, i]), low, high)
            error = (rows[:, i] - whole) / factor[i, i]
            rows[:, i + 1 : end] -= np.outer(error, factor[i, i + 1 : end])
            errors[:, i - start] = error
        rows[:, end:] -= errors @ factor[start:end, end:]


def _feedback_factor(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """The upper Cholesky factor of the inverse of damped moments."""
    damped = moments.copy()
    diagonal = np.einsum("ii->i", damped)
    diagonal += DAMPING * diagonal.mean() + 1e-12
    return np.asarray(np.linalg.cholesky(np.linalg.inv(damped)).T)


def spans(weight: LayerWeight) -> list[slice]:
    """A weight's inputs in as few equal parts as moments may have, by whole channels."""
    channel = prod(weight.shape[2:]) if len(weight.shape) > 2 else 1
    channels = weight.inputs // channel
    parts = ceil(weight.inputs / LARGEST_MOMENTS)
    ends = [round(channels * part / parts) * channel for part in range(parts + 1)]
    return [slice(start, end) for start, end in itertools.pairwise(ends)]


def _passes(weights: dict[str, LayerWeight]) -> Iterator[list[str]]:
    """Weights in groups whose moments fit into memory together."""
    group: list[str] = []
    taken = 0.0
    for name, weight in weights.items():
        size = sum(4.0 * (span.stop - span.start) ** 2 for span in spans(weight))
        if group and taken + size > MOMENTS_AT_ONCE:
            yield group
            group, taken = [], 0.0
        group.append(name)
        taken += size
    if group:
        yield group


def _moments(
    model: onnx.ModelProto,
    images: Sequence[Array],
    using: dict[str, list[NodeProto]],
    parts: dict[str, list[slice]],
    weights: WeightStore | None,
) -> dict[str, list[NDArray[np.float32]]]:
    """Second moments of the inputs of weights, over all nodes that use them."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    values = list(dict.fromkeys(node.input[0] for nodes in using.values() for node in nodes))
    for name in values:
        if name != INPUT.name:
            info = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            watched.graph.output.append(info)
    asked = [name for name in values if name != INPUT.name]
    rng = np.random.default_rng(_SEED)
    moments: dict[str, list[NDArray[np.float32]]] = {}
    with (weights or WeightsInGraph()).file_of(watched) as file:
        session = open_session(file, cpu=RUN_ON, accepted=False)
        for image in images:
            # Asked for nothing, ONNX Runtime would give everything.
            given = session.run(asked, {INPUT.name: image}) if asked else []
            found = {**dict(zip(asked, given, strict=True)), INPUT.name: image}
            for name, nodes in using.items():
                for node in nodes:
                    x = _samples(node, found[node.input[0]], rng)
                    new = [x[:, span].T @ x[:, span] for span in parts[name]]
                    old = moments.get(name)
                    moments[name] = [a + b for a, b in zip(old, new, strict=True)] if old else new
        del session
    release_memory()
    return moments


def _is_spread(node: NodeProto) -> bool:
    """Whether a convolution is dilated or in groups: its inputs aren't windows of the map."""
    attributes = {a.name: list(a.ints) or [a.i] for a in node.attribute}
    return max(attributes.get("dilations", [1])) > 1 or attributes.get("group", [1]) != [1]


def _samples(node: NodeProto, x: Array, rng: np.random.Generator) -> Array:
    """Inputs that a node multiplies by its weight: float32 (samples, inputs)."""
    if node.op_type == "MatMul":
        rows = x.reshape(-1, x.shape[-1])
        chosen = rng.permutation(len(rows))[:SAMPLES]
        return np.asarray(rows[chosen])
    attributes = {a.name: list(a.ints) for a in node.attribute}
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    padded = np.pad(x[0], ((0, 0), (top, bottom), (left, right)))
    windows = sliding_window_view(padded, (1, *attributes["kernel_shape"]))[:, :, :, 0]
    rows, columns = windows.shape[1:3]  # (channels, rows, columns, height, width)
    chosen = rng.permutation(rows * columns)[:SAMPLES]
    taken = windows[:, chosen // columns, chosen % columns]
    return np.asarray(taken.swapaxes(0, 1).reshape(len(chosen), -1))


def _reduced(image: Array) -> Array:
    """A picture (1, 3, height, width) by block means, to sides near `SIDE`."""
    whole = image.shape[2:]
    by = min(ceil(np.sqrt(np.prod(whole)) / SIDE), min(whole) // SIZE_MULTIPLE)
    if by <= 1:
        return image
    height, width = (side // by // SIZE_MULTIPLE * SIZE_MULTIPLE for side in whole)
    blocks = image[:, :, : height * by, : width * by].reshape(1, 3, height, by, width, by)
    return np.asarray(blocks.mean((3, 5)), np.float32)
