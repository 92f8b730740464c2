"""The precision that an export is asked for, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from birefnet_models.cache import MODEL_OF_PRECISION

from ..errors import PrecisionError

DEFAULT_MIN_IOU = 0.99


@dataclass(frozen=True, slots=True)
class Precision:
    """fp32, fp16 or int8, and what they need to know.

    Raises:
        PrecisionError: there is no such precision, a value is out of range, or there are
            calibration images for a precision that has no use for them.
    """

    name: str = "fp32"
    calibrate: Path | None = None
    """A folder of images."""
    min_iou: float | None = None
    """Of masks in int8 with masks in fp32, the mean over the images; None for the default."""

    def __post_init__(self) -> None:
        if self.name not in MODEL_OF_PRECISION:
            known = ", ".join(MODEL_OF_PRECISION)
            raise PrecisionError(f"precision {self.name!r} is unknown; choose from {known}")
        if self.calibrate is not None and self.name == "fp32":
            raise PrecisionError("calibration images are for int8 and fp16; fp32 needs none")
        if self.min_iou is None:
            return
        if not 0 <= self.min_iou <= 1:
            raise PrecisionError(f"a mean IoU is between 0 and 1, not {self.min_iou}")
        if self.calibrate is None or self.name != "int8":
            raise PrecisionError(
                "a smallest IoU is measured on the images that int8 is calibrated with; there are "
                "none (--calibrate FOLDER)"
            )
