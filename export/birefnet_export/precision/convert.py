"""A finished float32 graph in the precision that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import onnx

from ..parity.logits import Array
from .calibration import read_folder
from .fp16 import fragile, to_half
from .int8 import Plan, paying, quantized
from .mask_quality import Quality
from .request import DEFAULT_MIN_IOU, Precision
from .sensitivity import quantized_within


class Converted(NamedTuple):
    """A model, and what its precision does to masks where that was measured."""

    model: onnx.ModelProto
    quality: Quality | None


def calibration_images(wanted: Precision, size: tuple[int, int]) -> list[Array]:
    """The images that int8 is calibrated with, at `size`, height and width; maybe none.

    Raises:
        PrecisionError: they were asked for, and there are none.
        ImageError: one can't be read.
    """
    return [] if wanted.calibrate is None else read_folder(wanted.calibrate, size)


def converted(model: onnx.ModelProto, wanted: Precision, images: Sequence[Array]) -> Converted:
    """The model as `wanted`, calibrated with `images` if there are any.

    Raises:
        PrecisionError: the masks of the images lose more than is allowed.
        GraphError: the graph can't be converted.
    """
    if wanted.name == "fp16":
        kept = fragile(model)
        return Converted(to_half(model, lambda node: node.name in kept), None)
    if wanted.name == "int8" and not images:
        return Converted(quantized(model, Plan(products=paying(model, "MatMul"))), None)
    if wanted.name == "int8":
        least = DEFAULT_MIN_IOU if wanted.min_iou is None else wanted.min_iou
        return Converted(*quantized_within(model, images, least))
    return Converted(model, None)
