"""A table of an API's parameters, and how a request's fields are read by it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from birefnet_models.base.text import printable

from ..errors import Refusal, bad_parameter
from ..form import Fields

Values: TypeAlias = Mapping[str, Any]
"""What the parameters of a request hold, by name; of those that weren't given the default."""

IGNORED = "X-Ignored"
"""Names the parameters of a request that were understood and had no effect."""
_TRUTHS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


def _never(_: Values) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class ApiParameter:
    """A parameter, and what becomes of it. A text without an entry is the documentation's.

    Attributes:
        honored: what it may hold, and what that does.
        ignored: what it may hold, or stand beside, to be honored by doing nothing.
        refused: what is refused, beside what isn't understood.
        read: makes a value of its text; a ValueError says what is wrong with that. None: its bytes
            are the value.
        default: the value where it isn't given.
        is_ignored: whether it has no effect, by the values of all.
        refuse: makes the refusal of whatever it holds.
    """

    honored: str = ""
    ignored: str = ""
    refused: str = ""
    read: Callable[[str], Any] | None = None
    default: Any = None
    is_ignored: Callable[[Values], bool] = _never
    refuse: Callable[[str], Refusal] | None = None

    def value(self, name: str, content: bytes | None) -> Any:
        """What it holds.

        Raises:
            Refusal: it isn't understood or isn't supported.
        """
        if content is not None and self.refuse is not None:
            raise self.refuse(name)
        if content is None or self.read is None:
            return self.default if content is None else content
        try:
            text = content.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise bad_parameter(name, "no UTF-8 text") from None
        try:
            return self.read(text) if text else self.default
        except ValueError as error:
            raise bad_parameter(name, f"{printable(text[:60])!r} {error}") from None


Table: TypeAlias = Mapping[str, ApiParameter]


def understand(fields: Fields, table: Table) -> tuple[dict[str, Any], list[str]]:
    """Read a request's fields.

    Args:
        fields: by name; those without content count as not given.
        table: the API's parameters.

    Returns:
        the values by name, and the names of what was given and has no effect.

    Raises:
        Refusal: a field isn't known, isn't understood or isn't supported; names it.
    """
    for name in fields:
        if name not in table:
            raise bad_parameter(printable(name), "no such parameter")
    values = {
        name: parameter.value(name, fields.get(name) or None) for name, parameter in table.items()
    }
    given = (name for name in table if fields.get(name))
    return values, [name for name in given if table[name].is_ignored(values)]


def markdown(table: Table) -> str:
    """A table for the documentation."""
    lines = [
        f"| parameter | honored | without effect, named in `{IGNORED}` | refused |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{name}` | {row.honored} | {row.ignored} | {row.refused} |"
        for name, row in table.items()
    ]
    return "\n".join(lines) + "\n"


def one_of(known: Iterable[str]) -> Callable[[str], str]:
    """Reads one of some words."""
    words = tuple(known)

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"is none of {', '.join(words)}")
        return text

    return read


def number(least: int, most: int) -> Callable[[str], int]:
    """Reads a whole number."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and least <= int(text[:9]) <= most):
            raise ValueError(f"is not a whole number of {least} to {most}")
        return int(text)

    return read


def truth(text: str) -> bool:
    """Read true or false."""
    if text.lower() not in _TRUTHS:
        raise ValueError("is neither true nor false")
    return _TRUTHS[text.lower()]
