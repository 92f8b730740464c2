"""Small pieces of text that messages, reports and metadata share."""

from __future__ import annotations

from collections.abc import Iterable


def by_x(sides: Iterable[int]) -> str:
    """`1024x768` of (1024, 768): height first, as everywhere; of shapes as well, `2x3x224x160`."""
    return "x".join(map(str, sides))
