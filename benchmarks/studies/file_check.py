"""What comparing a model's files with their recorded sha256 costs when the model is opened.

`python -m studies.file_check FILE`.
"""

import dataclasses
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results_file import write_results
from birefnet_models import embedded_path, find
from birefnet_models.checksums import checksums_of, record_checksums
from birefnet_runtime.model.integrity import check_files
from birefnet_runtime.session.open import open_session
from birefnet_runtime.units import format_bytes, format_seconds

from studies.foreground import took

SIZES = {"nano": 9_661_692, "lite's size": 180_000_000, "general's size": 890_000_000}


def measure() -> dict[str, Any]:
    """Seconds of the check by size of the file, read from the page cache; and of opening nano."""
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, size in SIZES.items():
            file = Path(folder, "model.onnx")
            file.write_bytes(np.random.default_rng(0).bytes(size))
            record_checksums(file.parent, checksums_of([file]))
            measured[name] = {"bytes": size} | took(partial(check_files, file))
    nano = embedded_path(find("nano"))
    return {"check": measured, "open_nano": took(partial(open_session, nano))}


def markdown_table(stored: dict[str, Any]) -> str:
    """One row a file, from the content of a results file."""
    lines = ["| file | size | check |", "| --- | --- | --- |"]
    for name, result in stored["check"].items():
        size, time = format_bytes(result["bytes"]), format_seconds(result["median_s"])
        lines.append(f"| {name} | {size} | {time} |")
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
