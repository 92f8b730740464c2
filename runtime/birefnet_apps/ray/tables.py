"""Jobs and records as Arrow tables, which is how Ray carries them between machines."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from birefnet_models.base.text import printable

from ..files.jobs import Failure, Job
from ..storage import parse_location, typed_location

_JOBS = pa.schema(
    [
        ("source", pa.binary()),  # a path may be no text
        ("target", pa.binary()),
        ("overwrite", pa.bool_()),
        ("key", pa.binary()),
        ("explicit", pa.bool_()),
        ("error", pa.string()),  # of an input that can't be done
    ]
)
_STEPS = ("read", "run", "compose", "write", "animation")
_DETAILS = {
    "etag": pa.string(),
    "source_bytes": pa.int64(),
    "result_bytes": pa.int64(),
    "started": pa.float64(),
    "finished": pa.float64(),
}
"""As `FileReport.details` has them."""
RECORD_SCHEMA = pa.schema(
    [
        ("input", pa.string()),
        ("output", pa.string()),
        ("target", pa.string()),
        ("error", pa.string()),
        ("skipped", pa.bool_()),
        ("image_size", pa.list_(pa.int64())),
        ("model_size", pa.list_(pa.int64())),
        ("frames", pa.int64()),
        ("found", pa.bool_()),
        ("box", pa.list_(pa.int64())),
        ("share", pa.float64()),
        ("seconds", pa.struct([(step, pa.float64()) for step in _STEPS])),
        *_DETAILS.items(),
        ("notes", pa.list_(pa.string())),
        ("fatal", pa.bool_()),
    ]
)
"""A record of `birefnet cutout --json`, what it doesn't have being null; and, beyond it:

- `notes`: warnings of the process since the record before, such as that it runs on a fallback;
- `fatal`: whether `error` is that of the model, which no file on this machine will do without.
"""


def job_tables(jobs: Iterable[Job], failures: Sequence[Failure], rows: int) -> Iterator[pa.Table]:
    """Tables of so many jobs each; those that can't be done come last, with their errors.

    Args:
        jobs: drawn from as tables are; `failures` is complete when they have ended.
        failures: inputs that can't be done.
        rows: how many go into a table.
    """
    part: list[dict[str, Any]] = []

    def row(job: Job, error: str | None) -> dict[str, Any]:
        return {
            "source": os.fsencode(typed_location(job.source)),
            "target": os.fsencode(typed_location(job.target)),
            "overwrite": job.overwrite,
            "key": os.fsencode(job.key),
            "explicit": job.explicit,
            "error": error,
        }

    def every() -> Iterator[dict[str, Any]]:
        for job in jobs:
            yield row(job, None)
        for failure in failures:
            yield row(Job(failure.source, failure.source), str(failure.error))

    for one in every():
        part.append(one)
        if len(part) == rows:
            yield pa.Table.from_pylist(part, _JOBS)
            part.clear()
    if part:
        yield pa.Table.from_pylist(part, _JOBS)


def jobs_of(table: pa.Table) -> list[tuple[Job, str | None]]:
    """The jobs of a table, each with its error if it can't be done."""
    return [
        (
            Job(
                parse_location(os.fsdecode(row["source"])),
                parse_location(os.fsdecode(row["target"])),
                row["overwrite"],
                os.fsdecode(row["key"]),
                row["explicit"],
            ),
            row["error"],
        )
        for row in table.to_pylist()
    ]


def record_table(records: Iterable[Mapping[str, Any]]) -> pa.Table:
    """A table of records."""
    rows = [
        {**record, **{name: _text(record.get(name)) for name in ("input", "output", "target")}}
        for record in records
    ]
    return pa.Table.from_pylist(rows, RECORD_SCHEMA)


def plain_record(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a Dataset of records as `birefnet cutout --json` prints it."""
    names = {"input", "output"}
    if row["error"] is not None:
        names |= {"error", "target"} if row["target"] is not None else {"error"}
    elif row["skipped"]:
        names |= {"skipped"}
    else:
        names |= set(RECORD_SCHEMA.names) - {
            "target",
            "error",
            "skipped",
            "notes",
            "fatal",
            *_DETAILS,
        }
    record = {name: row[name] for name in RECORD_SCHEMA.names if name in names}
    if record.get("seconds") is not None:
        record["seconds"] = {
            step: took for step, took in record["seconds"].items() if took is not None
        }
    return record


def details_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """What records of a run say beside that of such a row."""
    return {name: row[name] for name in _DETAILS if row[name] is not None}


def _text(name: str | None) -> str | None:
    """A name that Arrow can hold: as it is, but for one that is not a text."""
    if name is None:
        return None
    try:
        name.encode()
    except UnicodeEncodeError:
        return printable(name)
    return name
