"""What `birefnet export` costs: `python -m studies.graphs.exports FILE CHECKPOINT...`.

Each checkpoint is exported by the command line in a process of its own, so that its peak memory is
its own; the graphs are thrown away, the reports go to FILE with the environment.
"""

import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.inputs import run_export
from birefnet_benchmarks.bench.results_file import write_results
from birefnet_models.base.text import format_seconds

from studies.tables import table_lines


def report_of(checkpoint: Path) -> dict[str, Any]:
    """The report of one export, as `birefnet export --json` prints it, without its paths."""
    with tempfile.TemporaryDirectory() as directory:
        report = run_export(checkpoint, Path(directory), verify=True)
    return {key: value for key, value in report.items() if key not in ("directory", "file")}


def markdown_table(stored: dict[str, Any]) -> str:
    """One row an export, and what it was measured on, from the content of a results file."""
    rows = []
    for report in stored["exports"]:
        cells = (
            report["backbone"],
            f"{report['file_bytes'] / 1e6:.0f} MB",
            f"{report['nodes']:,}",
            format_seconds(report["build_s"]),
            format_seconds(report["verify_s"]),
            f"{report['peak_rss_bytes'] / 1e9:.1f} GB",
            f"{report['parity']['logits_max_abs']:.1e}",
            f"{report['parity']['mask_max_abs']:.1e}",
        )
        rows.append(cells)
    parity, machine = stored["exports"][0]["parity"], stored["environment"]
    cases = ", ".join("x".join(map(str, case)) for case in parity["cases"])
    lines = table_lines(
        ("backbone", "file", "nodes", "build", "write and verify", "peak RSS", "logits", "mask"),
        rows,
    )
    lines += [
        "",
        f"Generated weights. Logits, mask: the largest difference to PyTorch at {cases}. "
        f"{machine['processor']}, {machine['cores']} cores, {parity['reference']}, "
        f"{parity['runtime']}.",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Export every checkpoint named behind the results file."""
    output, *checkpoints = map(Path, arguments)
    stored = {
        "environment": dataclasses.asdict(read_environment()),
        "exports": [report_of(checkpoint) for checkpoint in checkpoints],
    }
    write_results(output, stored)
    print(markdown_table(stored))


if __name__ == "__main__":
    main(sys.argv[1:])
