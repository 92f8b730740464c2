"""Records of a run beside its results: written in parts, read again for what failed.

OUTPUT/birefnet-records/20261130T221000Z-1a2b3c4d-00001.jsonl      or .parquet

A part is whole or not there; its name begins with when its run began, so that later ones come
last. Runs at the same time, as those of a job array, write parts of their own.
"""

import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from birefnet_models.base.text import printable
from birefnet_runtime.errors import ImageError, OutputError

from ..storage import Location, RemotePath, file_at

RecordsFormat: TypeAlias = Literal["jsonl", "parquet"]
FOLDER = "birefnet-records"
MOST_ROWS_OF_PART = 1000
LONGEST_S = 60.0
"""After so long a part is written, however few rows it has: what a killed run loses."""


class RecordWriter:
    """Writes records of a run below its output, some at a time.

    Args:
        output: the folder of the results.
        form: `jsonl` or `parquet`.
        facts: what each record says beside its own, such as the model.
    """

    def __init__(
        self, output: Path | RemotePath, form: RecordsFormat, facts: Mapping[str, Any]
    ) -> None:
        began = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        self._folder = output
        self._name = f"{began}-{secrets.token_hex(4)}"
        self._form = form
        self._facts = facts
        self._rows: list[dict[str, Any]] = []
        self._parts = 0
        self._since = time.monotonic()

    def add(self, record: Mapping[str, Any]) -> None:
        """Take the next record.

        Raises:
            OutputError: a part can't be written.
        """
        self._rows.append({**record, **self._facts})
        if len(self._rows) >= MOST_ROWS_OF_PART or time.monotonic() - self._since > LONGEST_S:
            self.flush()

    def flush(self) -> None:
        """Write what was not written yet.

        Raises:
            OutputError: it can't be.
        """
        self._since = time.monotonic()
        if not self._rows:
            return
        self._parts += 1
        name = f"{self._name}-{self._parts:05}.{self._form}"
        content = _as_parquet(self._rows) if self._form == "parquet" else _as_lines(self._rows)
        file_at(self._folder / Path(FOLDER, name)).write(content)
        self._rows = []


def read_failed(place: Location) -> dict[str, str | None]:
    """The inputs whose last record has an error, each with its result's place if that is known.

    Args:
        place: a file of JSON lines or parquet, a folder of such files, or one of results with them.

    Raises:
        ImageError: there are no records, or they can't be read.
    """
    failed: dict[str, str | None] = {}
    parts = _parts_at(place)
    if not parts:
        raise ImageError(f"{place}: holds no records (.jsonl or .parquet)")
    for part in parts:
        for record in _read_part(part):
            name = record.get("input")
            if not isinstance(name, str):
                raise ImageError(f"{part}: a record without an input; give what --json printed")
            failed.pop(name, None)
            if record.get("error") is not None:
                target = record.get("target")
                failed[name] = target if isinstance(target, str) else None
    return failed


def _parts_at(place: Location) -> list[Location]:
    """Files of records at a place, the oldest first."""
    if not file_at(place).is_folder():
        return [place]
    if isinstance(place, RemotePath):
        from ..storage.remote import RemoteFile  # fsspec, for URLs only

        below = RemoteFile(place).names_below()
        return [place / Path(name) for name in sorted(filter(_is_part, below), key=_file_name)]
    assert isinstance(place, Path)
    found = [*place.glob("*"), *place.glob(f"{FOLDER}/*")]
    return [*sorted(filter(lambda path: _is_part(str(path)), found), key=lambda path: path.name)]


def _is_part(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    return file.endswith((".jsonl", ".parquet")) and (not folder or folder.endswith(FOLDER))


def _file_name(path: str) -> str:
    return path.rpartition("/")[2]


def _read_part(place: Location) -> Iterator[dict[str, Any]]:
    content = file_at(place).read()
    try:
        if isinstance(content, Path):
            content = content.read_bytes()
        if str(place).endswith(".parquet"):
            yield from _from_parquet(content)
            return
        for line in content.splitlines():
            if line.strip():
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise ValueError("a line is not an object")
                yield record
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ImageError(f"{place}: {reason}") from error
    except ValueError as error:
        raise ImageError(f"{place}: not records, which are JSON lines or parquet") from error


def _as_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode("ascii")


def _as_parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa  # an extra
    import pyarrow.parquet as pq

    def cell(value: Any) -> Any:
        if isinstance(value, str):  # a name may be no text
            return value if value.isascii() else _as_text(value)
        return list(value) if isinstance(value, tuple) else value

    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.Table.from_pylist([{name: cell(row.get(name)) for name in names} for row in rows])
    stream = pa.BufferOutputStream()
    pq.write_table(table, stream)
    content: bytes = stream.getvalue().to_pybytes()
    return content


def _from_parquet(content: bytes) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    yield from pq.read_table(pa.BufferReader(content)).to_pylist()


def _as_text(name: str) -> str:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return printable(name)
    return name


def check_records_place(output: Location) -> Path | RemotePath:
    """The folder that records go below.

    Raises:
        OutputError: the output is not a folder.
    """
    if isinstance(output, RemotePath):
        return output
    if isinstance(output, Path) and not os.path.isfile(output):
        return output
    raise OutputError(f"{output}: records need a directory as --output")
