"""int8 on the processor at hand.

`python -m studies.graphs.int8_processors FILE CHECKPOINT IMAGES [EMULATOR...]`

CHECKPOINT is exported in float32 and in int8, with and without calibration, and with three ways to
round the weights of what is computed in int8: to eight bits, to seven, and as the export does, so
that no two neighbors saturate a 16-bit sum. Each graph's masks of the folder IMAGES are compared
with float32's, and timed in turn with float32 on one thread. EMULATOR, such as `qemu-x86_64 -cpu
Haswell`, is put before Python to get the masks once more on another processor (AVX2 without VNNI);
such rows say `emulated` and have no times.
"""

import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import write_results
from birefnet_export import export_onnx
from birefnet_export.precision import int8
from birefnet_export.precision.calibration import calibration_images
from birefnet_export.verify.masks import intersection_over_union
from birefnet_runtime.machine import read_processor
from birefnet_runtime.session.open import open_session

Record = dict[str, Any]
Round = Callable[[int8.LayerWeight], int8.RoundedWeight]
MASKS = """
import sys
import numpy as np
from birefnet_runtime import Segmenter
model, target, *files = sys.argv[1:]
segmenter = Segmenter(model, threads=1)
np.savez(target, *[segmenter(file) for file in files])
"""
"""Program that stores the masks of files at their own sizes; light, for emulators are slow."""
ROUNDS = 5
"""Each takes every photograph once."""
SIZE = (192, 192)
"""Trained size of nano, at which it runs."""


def eight_bits(weight: int8.LayerWeight) -> int8.RoundedWeight:
    """The nearest int8."""
    return int8.round_to(weight.read(), weight.axis, highest(weight))


def seven_bits(weight: int8.LayerWeight) -> int8.RoundedWeight:
    """The nearest int8 of at most 64, which is what other tools call a reduced range."""
    return int8.round_to(weight.read(), weight.axis, highest(weight) * np.float32(127 / 64))


def highest(weight: int8.LayerWeight) -> Any:
    """The largest magnitude of each output channel: float32 (channels,)."""
    channels = np.abs(np.moveaxis(weight.read(), weight.axis, 0))
    return channels.reshape(len(channels), -1).max(1)


ROUNDINGS: dict[str, Round] = {
    "8 bits": eight_bits,
    "7 bits": seven_bits,
    "pairs within 128": int8.round_for_sums,
}
"""Ways to round the weights that are multiplied in int8; the last is the export's."""


def export_all(checkpoint: Path, images: Path, folder: Path) -> dict[tuple[str, str], Path]:
    """Every graph by its kind and its rounding; float32 first."""
    options: Record = {"trained_size": SIZE, "verify": False}
    files = {("fp32", ""): export_onnx(checkpoint, folder / "fp32", **options).file}
    for name, rounding in ROUNDINGS.items():
        for kind, calibrate in (("products", None), ("calibrated", images)):
            min_iou = None if calibrate is None else 0
            options |= {"precision": "int8", "calibrate": calibrate, "min_iou": min_iou}
            with mock.patch.object(int8, "round_for_sums", rounding):
                report = export_onnx(checkpoint, folder / f"{kind} {name}", **options)
            files[kind, name] = report.file
    return files


def masks_of(model: Path, files: Sequence[Path], emulator: Sequence[str]) -> list[Any]:
    """The masks of photographs, float32 (height, width) each, from a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "masks.npz")
        arguments = [sys.executable, "-c", MASKS, model, target, *files]
        subprocess.run([*emulator, *map(str, arguments)], check=True, stderr=subprocess.DEVNULL)
        with np.load(target) as stored:
            return [stored[f"arr_{i}"] for i in range(len(files))]


def compare(masks: Sequence[Any], exact: Sequence[Any]) -> Record:
    """Error and overlap with float32's masks, over all photographs."""
    errors = [float(np.abs(a - b).mean()) for a, b in zip(masks, exact, strict=True)]
    pairs = zip(masks, exact, strict=True)
    ious = [intersection_over_union(a >= 0.5, b >= 0.5) for a, b in pairs]
    return {
        "mae_mean": float(np.mean(errors)),
        "mae_max": max(errors),
        "iou_mean": float(np.mean(ious)),
        "iou_min": float(min(ious)),
    }


def timed_in_turn(models: Sequence[Path], images: Path) -> list[float]:
    """Median seconds of a run of each model on one thread, photograph by photograph in turn."""
    sessions = [open_session(model, threads=1) for model in models]
    tensors = calibration_images(images, SIZE)
    seconds: list[list[float]] = [[] for _ in sessions]
    for turn in range(ROUNDS + 1):
        for tensor in tensors:
            for session, taken in zip(sessions, seconds, strict=True):
                started = time.perf_counter()
                session.run(None, {session.get_inputs()[0].name: tensor})
                if turn:  # the first warms up
                    taken.append(time.perf_counter() - started)
    return [median(taken) for taken in seconds]


def measure(checkpoint: Path, images: Path, emulators: Sequence[Sequence[str]]) -> list[Record]:
    """One row for each graph and processor."""
    photographs = sorted(p for p in images.iterdir() if p.suffix in (".png", ".jpg"))
    rows: list[Record] = []
    here = read_processor()
    with tempfile.TemporaryDirectory() as folder:
        files = export_all(checkpoint, images, Path(folder))
        seconds = timed_in_turn(list(files.values()), images)
        for emulator in ((), *emulators):
            processor: Record = {"emulated": " ".join(emulator)} if emulator else asdict(here)
            exact: list[Any] = []
            for (kind, rounding), taken in zip(files, seconds, strict=True):
                masks = masks_of(files[kind, rounding], photographs, emulator)
                exact = exact or masks
                row = {"kind": kind, "weights": rounding, **processor, **compare(masks, exact)}
                row["file_bytes"] = files[kind, rounding].stat().st_size
                if not emulator:
                    row |= {"median_s": taken, "of_fp32": taken / seconds[0]}
                print(row, file=sys.stderr, flush=True)
                rows.append(row)
    return rows


def markdown_table(stored: Record) -> str:
    """Error of int8 by rounding and processor, from the content of a results file."""
    lines = [
        "| processor | int8 | weights | IoU (worst) | MAE (worst) | time |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in stored["rows"]:
        if row["kind"] == "fp32":
            continue
        processor = f"emulated: `{row.get('emulated')}`"
        if "emulated" not in row:
            processor = ", ".join((row["model"], *row["features"]))
        cells = (
            processor,
            row["kind"],
            row["weights"],
            f"{row['iou_mean']:.4f} ({row['iou_min']:.4f})",
            f"{row['mae_mean']:.5f} ({row['mae_max']:.5f})",
            f"{row['of_fp32']:.2f} of fp32's" if "of_fp32" in row else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    machine = stored["environment"]
    lines += [
        "",
        f"{stored['checkpoint']} on {stored['images']} photographs, masks against fp32's on the "
        f"same processor; times at {SIZE[0]}x{SIZE[1]} on one thread, in turn with fp32's. "
        f"onnxruntime {machine['packages']['onnxruntime']}.",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Measure here and under each emulator, and write the results file."""
    output, checkpoint, images = map(Path, arguments[:3])
    rows = measure(checkpoint, images, [shlex.split(text) for text in arguments[3:]])
    stored = {
        "environment": asdict(read_environment()),
        "checkpoint": checkpoint.parent.name,
        "images": len(calibration_images(images, (32, 32))),
        "rows": rows,
    }
    write_results(output, stored)
    print(markdown_table(stored))


if __name__ == "__main__":
    main(sys.argv[1:])
