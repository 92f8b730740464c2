"""Short pieces that messages are made of, each written once."""

import re
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type where it has no text."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def joined(words: Iterable[str], last: str = " and ") -> str:
    """`a, b and c`; `last` stands before the last word."""
    *before, end = words
    return f"{', '.join(before)}{last}{end}" if before else end


def shortened(names: Iterable[str], most: int = 20) -> str:
    """`a, b, c and 12 more`: a list that does not fill the screen."""
    every = list(names)
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")


def size_text(size: tuple[int, int]) -> str:
    """`768x1024`: height and width in pixels."""
    return f"{size[0]}x{size[1]}"


def printable(text: object) -> str:
    """Text for a terminal: control characters, which could move its cursor, as `\\x1b`."""
    return re.sub(
        r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]",
        lambda character: character[0].encode("unicode_escape").decode("ascii"),
        str(text),
    )


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
