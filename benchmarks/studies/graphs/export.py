"""What `birefnet export` costs: `python -m studies.graphs.export FILE PHOTOS CHECKPOINT...`.

Each checkpoint is exported in each precision by the command line, one export at a time, on one
core and in a process of its own, so that time and peak memory are its own; the graphs are thrown
away, the reports go to FILE (`benchmarks/results/export.json`) with the environment, after each
export. The first checkpoint is exported once more in
int8, calibrated on the folder PHOTOS at 1024 x 1024. Where control groups can be made, the limit of
memory under which each ran is stated with it: beyond it a process is killed.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.inputs import COMMAND
from birefnet_benchmarks.bench.results import write_results
from birefnet_benchmarks.errors import BenchmarkError
from birefnet_models.base.text import format_bytes, format_seconds

from studies.processes import can_limit, limited
from studies.tables import table_lines

PRECISIONS = ("fp32", "fp16", "int8")
LIMITS = (1_000_000_000, 1_600_000_000)
"""Of memory, in bytes, under which exports are tried, by the size of their checkpoint."""
LARGE_CHECKPOINT = 300_000_000
"""Bytes from which a checkpoint has the second limit."""
CALIBRATED = ("--trained-size", "1024", "--min-iou", "0.5")
"""Generated weights cut out nothing, so how much int8 keeps of it says nothing."""


def limit_of(checkpoint: Path) -> int:
    """Bytes of memory that an export gets."""
    return LIMITS[checkpoint.stat().st_size >= LARGE_CHECKPOINT]


def report_of(checkpoint: Path, precision: str, calibrate: Path | None = None) -> dict[str, Any]:
    """The report of one export, as `birefnet export --json` prints it, without its paths.

    Beside it: elapsed and processor seconds of the process, and the limit of its memory in bytes,
    None where there was none.

    Raises:
        BenchmarkError: the export failed.
    """
    limit = limit_of(checkpoint) if can_limit() else None
    with tempfile.TemporaryDirectory() as directory, limited(limit) as join:

        def prepare() -> None:
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
            if join:
                join()

        command = [sys.executable, "-c", COMMAND, "export", str(checkpoint), "--json"]
        command += ["--output", directory, "--precision", precision]
        if calibrate:
            command += ["--calibrate", str(calibrate), *CALIBRATED]
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            preexec_fn=prepare,
        )
        assert process.stdout
        assert process.stderr
        with process.stdout, process.stderr:
            printed, said = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        took_s = time.perf_counter() - started
    if process.returncode:
        raise BenchmarkError(f"{checkpoint} in {precision}: {said.strip() or process.returncode}")
    report = json.loads(printed)
    measured = {
        "calibrated": calibrate is not None,
        "took_s": took_s,
        "processor_s": usage.ru_utime + usage.ru_stime,
        "limit_bytes": limit,
    }
    return {k: v for k, v in report.items() if k not in ("directory", "file")} | measured


def markdown_table(stored: dict[str, Any]) -> str:
    """One row an export, and what it was measured on, from the content of a results file."""
    rows = []
    for report in stored["exports"]:
        limit = report["limit_bytes"]
        rows.append(
            (
                report["backbone"],
                report["precision"] + (", calibrated" if report["calibrated"] else ""),
                f"{report['file_bytes'] / 1e6:.0f} MB",
                f"{report['nodes']:,}",
                format_seconds(report["build_s"]),
                format_seconds(report["verify_s"]),
                format_seconds(report["processor_s"]),
                f"{report['peak_rss_bytes'] / 1e6:,.0f} MB",
                format_bytes(limit) if limit else "none",
                f"{report['parity']['logits_max_abs']:.1e}",
                f"{report['parity']['mask_max_abs']:.1e}",
            )
        )
    parity, machine = stored["exports"][0]["parity"], stored["environment"]
    cases = ", ".join("x".join(map(str, case)) for case in parity["cases"])
    header = (
        *("backbone", "precision", "file", "nodes", "build", "write and verify", "processor"),
        *("peak RSS", "limit", "logits", "mask"),
    )
    lines = table_lines(header, rows)
    lines += [
        "",
        "Generated weights, one core, one export at a time. Processor: seconds of the whole "
        "process, its start included. Limit: of memory, by a control group. Calibrated: on "
        f"{stored['photographs']} photographs at 1024x1024. Logits, mask: the largest difference "
        f"to the reference at {cases}. {machine['processor']}, {parity['reference']}, "
        f"{parity['runtime']}.{stored['remark']}",
    ]
    return "\n".join(lines)


def measured(checkpoints: Sequence[Path], photographs: Path) -> Iterator[dict[str, Any]]:
    """All exports, one after the other."""
    for checkpoint in checkpoints:
        for precision in PRECISIONS:
            print(f"{checkpoint.name} in {precision}", file=sys.stderr, flush=True)
            yield report_of(checkpoint, precision)
    print(f"{checkpoints[0].name} in int8, calibrated", file=sys.stderr, flush=True)
    yield report_of(checkpoints[0], "int8", photographs)


def main(arguments: Sequence[str]) -> None:
    """Export every checkpoint named behind the results file and the folder of photographs."""
    output, photographs, *checkpoints = map(Path, arguments)
    busy = os.getloadavg()[0] > 1.0
    reports: list[dict[str, Any]] = []
    stored = {
        "environment": dataclasses.asdict(read_environment()),
        "photographs": sum(1 for _ in photographs.iterdir()),
        "remark": " Others worked on the machine: elapsed times are too long." if busy else "",
        "exports": reports,
    }
    for report in measured(checkpoints, photographs):
        reports.append(report)
        write_results(output, stored)  # after each: a later one may be killed by its limit
    print(markdown_table(stored))


if __name__ == "__main__":
    main(sys.argv[1:])
