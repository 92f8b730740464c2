"""What comparing a model's files with their recorded sha256 costs when the model is opened.

`python -m studies.runs.file_check FILE`.
"""

import dataclasses
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results_file import write_results
from birefnet_models import embedded_path, find
from birefnet_models.base.hashes import changed_file, checksums_of, record_checksums
from birefnet_models.base.text import format_bytes, format_seconds
from birefnet_runtime.model.locate import check_files
from birefnet_runtime.session.open import open_session

from studies.pictures.foreground import took
from studies.tables import table_lines

SIZES = {"nano": 9_661_692, "lite's size": 180_000_000, "general's size": 890_000_000}


def measure() -> dict[str, Any]:
    """Seconds of the check by size of the file, read from the page cache: of a file that is new,
    and of one that wasn't touched since; and of opening nano."""
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BIREFNET_CACHE"] = str(Path(folder, "cache"))
        for name, size in SIZES.items():
            file = Path(folder, "model.onnx")
            file.write_bytes(np.random.default_rng(0).bytes(size))
            checksums = checksums_of([file])
            record_checksums(file.parent, checksums)
            measured[name] = {"bytes": size} | took(partial(changed_file, file.parent, checksums))
            time.sleep(2.5)  # what was written a moment ago isn't remembered
            check_files(file)
            measured[name]["again_s"] = took(partial(check_files, file))["median_s"]
        nano = embedded_path(find("nano"))
        return {"check": measured, "open_nano": took(partial(open_session, nano))}


def markdown_table(stored: dict[str, Any]) -> str:
    """One row a file, from the content of a results file."""
    rows = [
        (
            name,
            format_bytes(result["bytes"]),
            format_seconds(result["median_s"]),
            format_seconds(result["again_s"]),
        )
        for name, result in stored["check"].items()
    ]
    lines = table_lines(("file", "size", "check", "not touched since"), rows)
    opening, machine = format_seconds(stored["open_nano"]["median_s"]), stored["environment"]
    lines += ["", f"Opening nano takes {opening}, check included; {machine['processor']}."]
    return "\n".join(lines)


def main(file: str) -> None:
    """Measure everything and write the results file."""
    results = {"environment": dataclasses.asdict(read_environment()), **measure()}
    write_results(Path(file), results)
    print(markdown_table(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
