"""What precisions cost and give:
`python -m studies.graphs.precision FILE TIMED JUDGED SIZE IMAGES`.

TIMED is a checkpoint whose time and memory count, at 1024 x 1024; JUDGED one whose masks mean
something, at its trained SIZE, calibrated and judged on the folder IMAGES, where what float16 costs
is measured too, operator by operator. Every graph runs in a process of its own; times are taken in
turn with fp32's. Figures go to FILE with the environment.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.inputs import export_by_command
from birefnet_benchmarks.bench.results import write_results
from birefnet_models.base.text import format_bytes
from birefnet_runtime import Segmenter
from birefnet_runtime.session.plugins import plugin_of

from studies.graphs.graph_row import GraphRow
from studies.processes import run_graph

SIZE = (1024, 1024)
PHOTOS = Path("examples/photos")
"""For the checkpoint that is timed: how long it takes doesn't depend on its ranges."""
KERNELS = "birefnet-ort-kernels"
Record = dict[str, Any]


def variants(calibration: Path) -> dict[str, tuple[str, ...]]:
    """Options of `birefnet export` by the name of the row; fp32 comes first."""
    int8 = ("--precision", "int8")
    return {
        "fp32": (),
        "fp16": ("--precision", "fp16", "--lowering", "rows"),
        "int8, products": int8,
        "int8, calibrated": (*int8, "--calibrate", str(calibration), "--min-iou", "0"),
    }


def timed(checkpoint: Path) -> dict[str, Record]:
    """Time, memory and file of each precision."""
    rows: dict[str, Record] = {}
    with tempfile.TemporaryDirectory() as folder:
        reports = {
            name: export_by_command(checkpoint, Path(folder, name), *options)
            for name, options in variants(PHOTOS).items()
        }
        fp32 = reports["fp32"]["file"]
        for name, report in reports.items():
            rival = None if name == "fp32" else fp32
            measured = run_graph(GraphRow(report["file"], SIZE, runs=3, rival=rival))
            kept = {k: v for k, v in measured.items() if k not in ("row", "operators")}
            facts = {key: report[key] for key in ("backbone", "nodes", "file_bytes")}
            rows[name] = {**facts, **kept}
            print(name, rows[name], file=sys.stderr, flush=True)
    return rows


def judged(checkpoint: Path, size: str, images: Path) -> Record:
    """The masks of each precision against fp32's, and what float16 costs each operator."""
    files = sorted(path for path in images.iterdir() if path.suffix in (".jpg", ".png"))
    rows: dict[str, Record] = {}
    with tempfile.TemporaryDirectory() as folder:
        reports = {
            name: export_by_command(
                checkpoint, Path(folder, name), "--trained-size", size, *options, verify=True
            )
            for name, options in variants(images).items()
        }
        exact: list[Any] = []
        for name, report, provider in runs_of(reports):
            segmenter = Segmenter(report["file"], threads=1, providers=provider)
            masks = [segmenter(file) for file in files]
            exact = exact or masks
            ious = [overlap(a, b) for a, b in zip(masks, exact, strict=True)]
            errors = [float(np.abs(a - b).mean()) for a, b in zip(masks, exact, strict=True)]
            rows[name] = {"file_bytes": report["file_bytes"], "parity": report["parity"]}
            rows[name] |= {"ious": ious, "errors": errors, "quality": report["quality"]}
        roundings = run_module(
            "studies.graphs.fp16_rounding", reports["fp32"]["file"], images, size
        )
    return {"rows": rows, "roundings": roundings, "size": size, "images": len(files)}


def runs_of(reports: dict[str, Record]) -> Iterator[tuple[str, Record, str]]:
    """Each export on ONNX Runtime's own kernels, and the last on ours where they are installed."""
    yield from ((name, report, "cpu:plain") for name, report in reports.items())
    if plugin_of("birefnet"):
        name, report = list(reports.items())[-1]
        yield f"{name}, {KERNELS}", report, "cpu:kernels"


def overlap(a: Any, b: Any) -> float:
    """Intersection over union of two masks cut at one half; 1 where both are empty."""
    union = np.logical_or(a >= 0.5, b >= 0.5).sum()
    return float(np.logical_and(a >= 0.5, b >= 0.5).sum() / union) if union else 1.0


def run_module(module: str, *arguments: object) -> Any:
    """What a module prints as JSON."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def markdown_table(stored: dict[str, Any]) -> str:
    """Time, memory and masks by precision, from the content of a results file."""
    lines = [
        "| precision | file | time | peak RSS | IoU (worst) | MAE | mask against PyTorch |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    fp32 = stored["timed"]["fp32"]
    for name, row in stored["timed"].items():
        masks = stored["judged"]["rows"][name]
        ratio = median(row["paired_s"]) / median(row["rival_s"]) if "rival_s" in row else 1
        cells = (
            name,
            f"{row['file_bytes'] / 1e6:.0f} MB ({row['file_bytes'] / fp32['file_bytes']:.2f})",
            f"{ratio:.2f} of fp32's",
            format_bytes(row["peak_rss_bytes"]),
            f"{np.mean(masks['ious']):.4f} ({min(masks['ious']):.4f})",
            f"{np.mean(masks['errors']):.5f}",
            f"{masks['parity']['mask_mean_abs']:.1e}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    machine, found = stored["environment"], stored["judged"]
    lines += [
        "",
        f"File, time, memory: {fp32['backbone']} with generated weights at {SIZE[0]}x{SIZE[1]}, "
        f"{machine['cores']} threads, lowering rows; times in turn with fp32's. "
        f"IoU and MAE against fp32's masks: nano on {found['images']} photographs, of "
        "which every other one gave the ranges. "
        f"{machine['processor']}, onnxruntime {machine['packages']['onnxruntime']}.",
    ]
    for name, row in found["rows"].items():
        if name.endswith(KERNELS):
            iou, least, error = np.mean(row["ious"]), min(row["ious"]), np.mean(row["errors"])
            lines[-1] += f" {name}: IoU {iou:.4f} ({least:.4f}), MAE {error:.5f}."
    return "\n".join(lines)


def roundings_table(stored: dict[str, Any]) -> str:
    """What float16 costs, one kind of operator at a time, from the content of a results file."""
    lines = [
        "| rounded to float16 | nodes | mask, mean | mask, largest | largest value |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in stored["judged"]["roundings"]:
        cells = (
            row["kind"],
            str(row["nodes"]),
            f"{row['mask_mean_abs']:.1e}",
            f"{row['mask_max_abs']:.1e}",
            f"{row['largest']:,.0f}" if row["largest"] else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    found = stored["judged"]
    lines += [
        "",
        f"nano on {found['images']} photographs at {found['size']}, against fp32's masks.",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Measure both checkpoints and write the results file."""
    output, fast, good, images = (Path(arguments[i]) for i in (0, 1, 2, 4))
    masks = judged(good, arguments[3], images)
    stored = {
        "environment": asdict(read_environment()),
        "timed": timed(fast),
        "judged": masks,
    }
    write_results(output, stored)
    print(markdown_table(stored), roundings_table(stored), sep="\n\n")


if __name__ == "__main__":
    main(sys.argv[1:])
