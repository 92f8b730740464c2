"""docs/reference/report.md names every field that a report can hold."""

import dataclasses
import re
import typing
from collections.abc import Iterator
from pathlib import Path

from birefnet_benchmarks.bench.results import BenchReport

TEXT = (Path(__file__).parents[3] / "docs/reference/report.md").read_text(encoding="utf-8")


def records(kind: object) -> Iterator[type]:
    """The dataclasses that a type is made of, itself included."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        yield kind
        for each in typing.get_type_hints(kind).values():
            yield from records(each)
    for argument in typing.get_args(kind):
        yield from records(argument)


def test_every_field_of_every_record_is_documented():
    found = set(records(BenchReport))

    assert len(found) == 12
    for record in found:
        part = TEXT.partition(f"\n### {record.__name__}\n")[2].partition("\n### ")[0]
        assert part, record
        for field in dataclasses.fields(record):
            shown = re.search(rf"^\| `{field.name}` \| `(.+)` \| (.*) ?\|$", part, re.MULTILINE)
            assert shown, f"{record.__name__}.{field.name}"
            said = shown[2].strip() or any(other.__name__ in shown[1] for other in found)
            assert said, f"{record.__name__}.{field.name} has no docstring"
