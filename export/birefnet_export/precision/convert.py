"""A finished float32 graph in the precision that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import onnx

from ..graph.weights import WeightStore
from ..verify.headroom import HeadRoom
from ..verify.logits import Array
from ..verify.quality import Quality
from .fp16 import needs_float32, to_half
from .headroom import halved, with_poor_weights
from .int8 import Int8Plan, faster_in_int8, quantized
from .request import DEFAULT_MIN_IOU, Precision
from .sensitivity import quantized_within


class Converted(NamedTuple):
    """A model in the precision that was asked for, and what was measured of it on photographs."""

    model: onnx.ModelProto
    quality: Quality | None = None
    headroom: HeadRoom | None = None


def converted(
    model: onnx.ModelProto,
    weights: WeightStore,
    precision: Precision,
    images: Sequence[Array],
    photographs: Sequence[Sequence[Array]] = (),
    step: Callable[[str], None] = lambda what: None,
) -> Converted:
    """Convert a model; `weights` keeps those of both.

    Args:
        images: for int8, what it is calibrated with, if there are any.
        photographs: for fp16, what its head-room is measured on, as `headroom_images` gives them.

    Raises:
        PrecisionError: the masks of the images lose more than is allowed.
        GraphError: the graph can't be converted.
    """
    if precision.name == "fp16" and photographs:
        return Converted(*halved(model, weights, photographs, step))
    if precision.name == "fp16":
        float32 = needs_float32(model) | with_poor_weights(model, weights)
        return Converted(to_half(model, float32, weights))
    if precision.name == "int8" and not images:
        plan = Int8Plan(products=faster_in_int8(model, "MatMul"))
        return Converted(quantized(model, plan, weights))
    if precision.name == "int8":
        min_iou = DEFAULT_MIN_IOU if precision.min_iou is None else precision.min_iou
        return Converted(*quantized_within(model, weights, images, min_iou, step))
    return Converted(model)
