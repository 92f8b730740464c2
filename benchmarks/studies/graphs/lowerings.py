"""What each lowering costs: `python -m studies.graphs.lowerings FILE CHECKPOINT...`.

Every checkpoint is exported with every lowering and run at several sizes, each in a process of its
own, interleaved over the lowerings. The reports go to FILE with the environment.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.inputs import export_by_command
from birefnet_benchmarks.bench.results import write_results
from birefnet_models.base.text import format_bytes, format_seconds

from studies.graphs.graph_row import GraphRow
from studies.processes import run_graph
from studies.tables import table_lines

LOWERINGS = ("native", "rows", "gridsample")
SIZES = (512, 1024, 2048)


def measure(checkpoint: Path, sizes: Sequence[int] = SIZES) -> list[dict[str, Any]]:
    """One record for each lowering and size."""
    records = []
    with tempfile.TemporaryDirectory() as folder:
        reports = {
            name: export_by_command(checkpoint, Path(folder, name), "--lowering", name)
            for name in LOWERINGS
        }
        for size in sizes:
            for name, report in reports.items():
                graph = GraphRow(report["file"], (size, size), runs=2 if size < 2048 else 1)
                measured = run_graph(graph)
                facts = {key: report[key] for key in ("backbone", "opset", "nodes")}
                kept = {k: v for k, v in measured.items() if k not in ("row", "operators")}
                records.append({**facts, "lowering": name, "size": size, **kept})
                print(records[-1], file=sys.stderr, flush=True)
    return records


def markdown_table(stored: dict[str, Any]) -> str:
    """One row for each backbone, size and lowering, from the content of a results file."""
    rows = []
    for record in stored["records"]:
        cells = [
            record["backbone"],
            f"{record['size']}x{record['size']}",
            record["lowering"],
            str(record["opset"]),
            f"{record['nodes']:,}",
        ]
        if "error" in record:
            cells += ["", record["error"], ""]
        else:
            cells += [
                format_seconds(record["load_s"]),
                format_seconds(median(record["times_s"])),
                format_bytes(record["peak_rss_bytes"]),
            ]
        rows.append(cells)
    machine = stored["environment"]
    lines = table_lines(
        ("backbone", "size", "lowering", "opset", "nodes", "load", "median", "peak RSS"), rows
    )
    lines += [
        "",
        f"Generated weights, batch 1, settings `balanced`, {machine['cores']} threads. "
        f"{machine['processor']}, onnxruntime {machine['packages']['onnxruntime']}.",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Measure every checkpoint named behind the results file."""
    output, *checkpoints = map(Path, arguments)
    stored = {
        "environment": asdict(read_environment()),
        "records": [record for checkpoint in checkpoints for record in measure(checkpoint)],
    }
    write_results(output, stored)
    print(markdown_table(stored))


if __name__ == "__main__":
    main(sys.argv[1:])
