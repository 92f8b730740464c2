"""Small pieces of text that messages, reports and metadata share."""

from __future__ import annotations

from collections.abc import Iterable


def by_x(sides: Iterable[int]) -> str:
    """`1024x768` of (1024, 768): height first, as everywhere; of shapes as well, `2x3x224x160`."""
    return "x".join(map(str, sides))


def first_line(error: BaseException) -> str:
    """What an error says first; its kind where it says nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
