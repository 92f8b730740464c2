"""What is measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Case:
    """One row: a model at one size, an image in memory to alpha. Sizes are (height, width)."""

    model: str
    """What `Segmenter` opens."""
    size: tuple[int, int] | None
    """None for the size that the model was trained at."""
    image_size: tuple[int, int]
    threads: int
    repeats: int


def case_from_json(stored: dict[str, Any]) -> Case:
    """A case from its JSON form, where pairs are lists."""
    size = pair(stored["size"]) if stored["size"] else None
    return Case(**{**stored, "size": size, "image_size": pair(stored["image_size"])})


def pair(numbers: Sequence[int]) -> tuple[int, int]:
    """(height, width) of a JSON list."""
    height, width = numbers
    return height, width
