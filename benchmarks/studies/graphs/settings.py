"""What ONNX Runtime's settings cost and save.

`python -m studies.graphs.settings FILE LITE`.

Lite (a checkpoint of Swin T) at 1024 x 1024, each setting in a process of its own, with the weights
in the file and beside it. The figures go to FILE with the environment.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.exports import run_export
from birefnet_benchmarks.bench.results_file import write_results
from birefnet_models.base.text import format_bytes, format_seconds

from studies.graphs.graph_row import GraphRow
from studies.processes import run_graph
from studies.tables import table_lines

SETTINGS: dict[str, dict[str, Any]] = {
    "ONNX Runtime's own (`fast`)": {},
    "memory pattern": {"memory_pattern": True},
    "no prepacking (`balanced`)": {"prepack": False},
    "arena grows by what is asked for": {"prepack": False, "arena": "same-as-requested"},
    "arena in one region": {"prepack": False, "arena": "one-region"},
    "the same, shrunk after each run (`low`)": {
        "prepack": False,
        "arena": "one-region",
        "shrink_arena": True,
    },
    "arena shrunk after each run": {"prepack": False, "shrink_arena": True},
    "no arena": {"prepack": False, "arena": "off"},
    "order by priority": {"prepack": False, "order": "priority"},
    "threads that don't spin": {"prepack": False, "spin": False},
}
"""Fields of the CPU's record by what they mean."""
SIZE = (1024, 1024)


def measure(lite: Path) -> list[dict[str, Any]]:
    """One record for each setting and place of the weights."""
    records = []
    with tempfile.TemporaryDirectory() as folder:
        files = {
            "in the file": run_export(lite, Path(folder, "in"))["file"],
            "beside it": run_export(lite, Path(folder, "beside"), "--external-data")["file"],
        }
        for name, cpu in SETTINGS.items():
            for weights, file in files.items():
                measured = run_graph(GraphRow(file, SIZE, cpu=cpu, runs=2))
                kept = {k: v for k, v in measured.items() if k not in ("row", "operators")}
                records.append({"setting": name, "cpu": cpu, "weights": weights, **kept})
                print(records[-1], file=sys.stderr, flush=True)
    return records


def markdown_table(stored: dict[str, Any]) -> str:
    """One row a setting and place of the weights, from the content of a results file."""
    rows = []
    for record in stored["records"]:
        cells = [record["setting"], record["weights"]]
        if "error" in record:
            cells += [record["error"], "", "", "", ""]
        else:
            cells += [
                format_seconds(record["load_s"]),
                format_seconds(record["first_s"]),
                format_seconds(median(record["times_s"])),
                format_bytes(record["peak_rss_bytes"]),
                format_bytes(record["rss_after_bytes"] or 0),
            ]
        rows.append(cells)
    machine = stored["environment"]
    lines = table_lines(
        ("setting", "weights", "load", "first run", "next runs", "peak RSS", "RSS after"), rows
    )
    lines += [
        "",
        f"Lite with generated weights, lowering `rows`, 1024 x 1024, batch 1, {machine['cores']} "
        f"threads. {machine['processor']}, onnxruntime {machine['packages']['onnxruntime']}.",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Measure and write the results file."""
    output, lite = map(Path, arguments)
    stored = {"environment": asdict(read_environment()), "records": measure(lite)}
    write_results(output, stored)
    print(markdown_table(stored))


if __name__ == "__main__":
    main(sys.argv[1:])
