"""Short pieces that messages are made of, each written once."""

from collections.abc import Iterable, Sequence


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type where it has no text."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def joined(words: Sequence[str], last: str = " and ") -> str:
    """`a, b and c`; `last` stands before the last word."""
    *before, end = words or ("",)
    return f"{', '.join(before)}{last}{end}" if before else end


def shortened(names: Iterable[str], most: int = 20) -> str:
    """`a, b, c and 12 more`: a list that does not fill the screen."""
    every = list(names)
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")


def format_size(sides: Iterable[int]) -> str:
    """`768x1024`: height first, as it is typed; of shapes as well, `2x3x224x160`."""
    return "x".join(map(str, sides))
