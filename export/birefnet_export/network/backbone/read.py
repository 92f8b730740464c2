"""Which backbone a state dict shows."""

from __future__ import annotations

from ...errors import ArchitectureError
from ..shapes import Shapes
from .dino_v3 import DinoV3
from .record import Backbone
from .swin_v1 import SwinV1

FAMILIES = (SwinV1, DinoV3)
"""Each tells by itself whether the tensors are its own."""


def read_backbone(shapes: Shapes) -> Backbone:
    """The backbone that names and shapes of a state dict show.

    Raises:
        ArchitectureError: none that is supported, or one whose tensors contradict each other.
    """
    for family in FAMILIES:
        if (found := family.from_shapes(shapes)) is not None:
            return found
    raise ArchitectureError("its backbone is none of upstream's")
