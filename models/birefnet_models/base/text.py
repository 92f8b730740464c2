"""Short pieces that messages are made of, each written once."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import SplitResult, urlsplit

_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def first_line(error: BaseException) -> str:
    """The first line of an error's text, printable, or its type where it has no text."""
    return printable(str(error).strip().partition("\n")[0]) or type(error).__name__


def joined(words: Sequence[str], last: str = " and ") -> str:
    """`a, b and c`; `last` stands before the last word."""
    *before, end = words or ("",)
    return f"{', '.join(before)}{last}{end}" if before else end


def shortened(names: Iterable[str], most: int = 20) -> str:
    """`a, b, c and 12 more`: a printable list that does not fill the screen."""
    every = [printable(name) for name in names]
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean lite?`: the nearest of the known words; empty where none is near."""
    from difflib import get_close_matches  # for messages alone

    near = get_close_matches(word.lower(), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def printable(text: object) -> str:
    r"""Escape what a terminal would act on: `\x1b`, `\n`, `\u202e`.

    Control characters, line and paragraph separators, surrogates of names that are no UTF-8, and
    the controls of writing direction (Unicode Standard Annex 9). A second time changes nothing.
    """
    return "".join(
        char.encode("unicode_escape").decode()
        if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} or char in _DIRECTIONS
        else char
        for char in str(text)
    )


def format_size(sides: Iterable[int]) -> str:
    """`768x1024`: height first, as it is typed; of shapes as well, `2x3x224x160`."""
    return "x".join(map(str, sides))


def split_url(url: str) -> SplitResult:
    """The parts of an http or https URL.

    Raises:
        ValueError: it is none: no host, a wrong port or bracket, a control character.
    """
    parts = urlsplit(url)
    bad = parts.scheme not in ("http", "https") or not parts.hostname or printable(url) != url
    if bad or parts.port == 0:  # reading the port raises ValueError, too
        raise ValueError("no http or https URL")
    return parts


def shown_url(url: str) -> str:
    """A URL as it may be printed and stored: without a user's name and password."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return printable(parts._replace(netloc=host).geturl() if "@" in parts.netloc else url)
    except ValueError:
        return printable(re.sub(r"(?<=://)[^/]*@", "", url))


def format_bytes(count: float) -> str:
    """`740 MB`, `1.2 GB`: decimal, as disks and container limits are sold."""
    return f"{count / 1e9:.2g} GB" if count >= 999.5e6 else f"{count / 1e6:.0f} MB"


def format_seconds(seconds: float) -> str:
    """`850 ms`, `2.4 s`, `3 min 20 s`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 59.95:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def aligned(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines of columns as wide as their longest entry; never broken, so that grep and cut work."""
    listed = list(rows)
    widths = [max(map(len, column)) for column in zip(*listed, strict=True)]
    for row in listed:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()
