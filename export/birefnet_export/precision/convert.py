"""A finished float32 graph in the precision that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx

from ..graph.weights import WeightStore
from ..verify.logits import Array
from ..verify.quality import Quality
from .fp16 import needs_float32, to_half
from .int8 import Int8Plan, faster_in_int8, quantized
from .request import DEFAULT_MIN_IOU, Precision
from .sensitivity import quantized_within


def converted(
    model: onnx.ModelProto,
    weights: WeightStore,
    precision: Precision,
    images: Sequence[Array],
    step: Callable[[str], None] = lambda what: None,
) -> tuple[onnx.ModelProto, Quality | None]:
    """Convert a model, calibrated with `images` if there are any; `weights` keeps those of both.

    Returns:
        The model, and what its precision does to masks where that was measured.

    Raises:
        PrecisionError: the masks of the images lose more than is allowed.
        GraphError: the graph can't be converted.
    """
    if precision.name == "fp16":
        return to_half(model, needs_float32(model), weights), None
    if precision.name == "int8" and not images:
        plan = Int8Plan(products=faster_in_int8(model, "MatMul"))
        return quantized(model, plan, weights), None
    if precision.name == "int8":
        min_iou = DEFAULT_MIN_IOU if precision.min_iou is None else precision.min_iou
        return quantized_within(model, weights, images, min_iou, step)
    return model, None
