"""Which backbone a state dict shows."""

from __future__ import annotations

from ...errors import ArchitectureError
from ..shapes import SUPPORTED, Shapes
from .dino_v3 import DinoV3
from .pvt_v2 import PvtV2
from .record import Backbone
from .swin_v1 import SwinV1

FAMILIES = (SwinV1, PvtV2, DinoV3)
"""Each tells by itself whether the tensors are its own."""


def read_backbone(shapes: Shapes) -> Backbone:
    """The backbone that names and shapes of a state dict show.

    Raises:
        ArchitectureError: none that is supported, or one whose tensors contradict each other.
    """
    for family in FAMILIES:
        if (found := family.from_shapes(shapes)) is not None:
            return found
    raise ArchitectureError(f"it has no backbone of upstream's that is known (bb.…); {SUPPORTED}")
