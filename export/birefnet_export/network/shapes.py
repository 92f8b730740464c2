"""Names and shapes of a state dict, looked up with a clear word on what isn't there."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ArchitectureError

Shapes = Mapping[str, tuple[int, ...]]


def shape_of(shapes: Shapes, name: str, rank: int) -> tuple[int, ...]:
    """The shape of tensor `name`, which must be there and have `rank` dimensions of 1 or more.

    Raises:
        ArchitectureError: it is missing or has another shape.
    """
    if name not in shapes:
        raise ArchitectureError(f"tensor {name} is missing: not a BiRefNet of upstream's")
    shape = tuple(shapes[name])
    if len(shape) != rank or min(shape) < 1:
        raise ArchitectureError(
            f"tensor {name} has shape {shape}, expected {rank} dimensions of 1 or more"
        )
    return shape
