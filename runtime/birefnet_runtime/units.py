"""Numbers and tables as people read them."""

from collections.abc import Iterable, Iterator, Sequence


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
