"""What each backbone costs on a CPU: `python -m studies.graphs.backbones FILE`.

A run of `birefnet bench` over generated checkpoints of several backbones, each beside PyTorch. Then
all graphs open side by side in one process and take turns, so that they can be compared with each
other, too. FILE gets what a user who chooses a backbone wants to know; `--sizes`, `--seconds` and
`--backbones` bound a trial.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from birefnet_benchmarks.bench.results import BenchReport, Result, baseline_of, read_report
from birefnet_benchmarks.bench.results_file import write_results
from birefnet_benchmarks.report import statistics
from birefnet_models.cache import MODEL
from birefnet_models.text import format_bytes, format_seconds, format_size
from birefnet_runtime.session.open import open_session

from studies.graphs.golden_checkpoints import write_checkpoint
from studies.processes import run_command
from studies.tables import table_lines

LITE = "swin_v1_t"
"""The backbone of the released `lite`, which the others are compared with."""
BACKBONES = (LITE, "pvt_v2_b0", "pvt_v2_b2", "dino_v3_s", "dino_v3_b")
ROUNDS = 5
Record = dict[str, Any]


def measure(
    backbones: Sequence[str], sizes: str, seconds: str, folder: Path
) -> tuple[BenchReport, list[Record]]:
    """The report of one run, and a row for each backbone and size of it.

    Raises:
        RuntimeError: the run failed; with what it said last.
    """
    checkpoints = [str(write_checkpoint(folder, backbone)) for backbone in backbones]
    options = ("--sizes", sizes, "--seconds", seconds, "--pytorch", "eager", "--lowerings", "rows")
    done = run_command("bench", "run", *checkpoints, *options, "--output", str(folder / "bench"))
    if done.exit_code:
        raise RuntimeError(f"birefnet bench: {done.said}")
    report = read_report(folder / "bench")
    files = {name: folder / name / "rows-fp32" / MODEL for name in backbones}
    turns = {side: in_turns(files, side) for side in map(int, sizes.split(","))}
    return report, condensed(report, turns)


def in_turns(files: Mapping[str, Path], side: int) -> dict[str, list[float]]:
    """Seconds of each graph at side x side, round by round, all open in this process."""
    image = np.random.default_rng(0).standard_normal((1, 3, side, side)).astype(np.float32)
    sessions = {name: open_session(path) for name, path in files.items()}
    seconds: dict[str, list[float]] = {name: [] for name in files}
    for _ in range(ROUNDS + 1):
        for name, session in sessions.items():
            started = time.perf_counter()
            session.run(None, {session.get_inputs()[0].name: image})
            seconds[name].append(time.perf_counter() - started)
    return {name: times[1:] for name, times in seconds.items()}


def condensed(report: BenchReport, turns: Mapping[int, Mapping[str, list[float]]]) -> list[Record]:
    """Time, memory and share of the roofline of each graph, beside PyTorch and beside lite."""
    rows = []
    for result in report.results:
        configuration = result.configuration
        if configuration.backend == "onnxruntime":
            baseline = baseline_of(configuration, report.results)
            of_lite = _of_lite(configuration.model, turns.get(configuration.size[0], {}))
            rows.append(_row(result, report, baseline, of_lite))
    return rows


def _of_lite(model: str, turns: Mapping[str, list[float]]) -> float | None:
    """The median over the rounds of a graph's time in lite's."""
    ratios = [
        mine / lite for mine, lite in zip(turns.get(model, ()), turns.get(LITE, ()), strict=False)
    ]
    return median(ratios) if ratios else None


def _row(
    result: Result, report: BenchReport, pytorch: Result | None, of_lite: float | None
) -> Record:
    timing, theirs = statistics.timing(result), pytorch and statistics.timing(pytorch)
    counts = {(n.model, n.size): n.multiply_adds for n in report.operation_counts}
    configuration = result.configuration
    return {
        "backbone": configuration.model,
        "size": configuration.size,
        "median_s": timing and timing.median_s,
        "peak_rss_bytes": result.peak_rss_bytes,
        "roofline_share": statistics.roofline_share(result, report),
        "multiply_adds": counts.get((configuration.model, configuration.size)),
        "pytorch_s": theirs and theirs.median_s,
        "pytorch_peak_rss_bytes": pytorch and pytorch.peak_rss_bytes,
        "of_pytorch": _ratio(result, pytorch),
        "of_lite": of_lite,
        "noisy": statistics.is_noisy(result),
        "error": result.error,
    }


def _ratio(result: Result, other: Result | None) -> float | None:
    known = statistics.ratio(result, other) if other else None
    return known.value if known else None


def markdown_table(stored: Record) -> str:
    """A row a backbone and size, and what it was measured on, from the content of the file."""
    cells = [
        (
            row["backbone"],
            format_size(tuple(row["size"])),
            ("~" if row["noisy"] else "") + format_seconds(row["median_s"]),
            _times(row["of_lite"]),
            _times(row["of_pytorch"]),
            format_bytes(row["peak_rss_bytes"]),
            format_bytes(row["pytorch_peak_rss_bytes"]) if row["pytorch_peak_rss_bytes"] else "",
            f"{row['multiply_adds'] / 1e9:.0f} G" if row["multiply_adds"] else "",
            _times(row["roofline_share"]),
        )
        for row in stored["rows"]
        if row["median_s"] and row["peak_rss_bytes"]
    ]
    heads = (
        *("backbone", "size", "time", "of lite's", "of PyTorch's", "peak RSS", "PyTorch's"),
        *("multiply-adds", "share of the roofline"),
    )
    marks = " ~: times varied, or the machine was busy." if "~" in str(cells) else ""
    environment = stored["environment"]
    packages = environment["packages"]
    caption = (
        f"Generated weights, float32, batch 1, {stored['threads']} threads; lite is {LITE}. "
        f"{environment['processor']}, {environment['cores']} cores; onnxruntime "
        f"{packages['onnxruntime']}, torch {packages['torch']}.{marks}"
    )
    return "\n".join([*table_lines(heads, cells), "", caption])


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def main(arguments: Sequence[str]) -> None:
    """Measure and write the results file."""
    parser = argparse.ArgumentParser(prog="studies.graphs.backbones")
    parser.add_argument("file", type=Path)
    parser.add_argument("--sizes", default="512,1024")
    parser.add_argument("--seconds", default="8")
    parser.add_argument("--backbones", default=",".join(BACKBONES))
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        backbones = asked.backbones.split(",")
        report, rows = measure(backbones, asked.sizes, asked.seconds, Path(folder))
    stored = {
        "environment": asdict(report.environment),
        "seconds": report.seconds,
        "took_s": report.took_s,
        "threads": report.results[0].configuration.threads,
        "batch": report.results[0].configuration.batch,
        "rows": rows,
    }
    write_results(asked.file, stored)
    print(markdown_table(stored))


if __name__ == "__main__":
    main(sys.argv[1:])
