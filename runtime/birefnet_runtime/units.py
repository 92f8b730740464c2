"""Numbers, names and tables as people read them."""

from collections.abc import Iterable, Iterator, Sequence

_CONTROLS = {
    code: chr(code).encode("unicode_escape").decode()
    for code in (
        *(*range(32), *range(127, 160)),  # C0, DEL, C1
        *(0x2028, 0x2029),  # line and paragraph separators
        *(0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)),  # direction
        *range(0xD800, 0xE000),  # surrogates: bytes of names that are no UTF-8
    )
}


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


def printable(text: str) -> str:
    r"""Escape what a terminal would act on: `\x1b`, `\n`, `\u202e`.

    Control characters, line and paragraph separators, surrogates of names that are no UTF-8, and
    the controls of writing direction (Unicode Standard Annex 9). A second time changes nothing.
    """
    return text.translate(_CONTROLS)


def aligned(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines of columns as wide as their longest entry; never broken, so that grep and cut work."""
    listed = list(rows)
    widths = [max(map(len, column)) for column in zip(*listed, strict=True)]
    for row in listed:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()
