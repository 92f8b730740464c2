"""Exports of a checkpoint, each by `birefnet export` in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BenchmarkError

COMMAND = "from birefnet_apps.cli.main import main; main()"
"""`birefnet`, for `python -c`."""


@dataclass(frozen=True, slots=True)
class Export:
    """One way to export a checkpoint."""

    lowering: str
    precision: str


@dataclass(frozen=True, slots=True)
class Int8Options:
    """Options of `birefnet export` that concern int8 alone."""

    calibrate: Path | None = None
    """A folder of images."""
    min_iou: float | None = None


def exports_of(lowerings: Sequence[str], precisions: Sequence[str]) -> tuple[Export, ...]:
    """Every lowering in the first precision, and every further precision in the first lowering.

    Measuring their product would spend most of the time on combinations that nobody compares.
    """
    across = [Export(lowering, precisions[0]) for lowering in lowerings]
    down = [Export(lowerings[0], precision) for precision in precisions[1:]]
    return tuple(across + down)


def export_graph(checkpoint: Path, export: Export, folder: Path, int8: Int8Options) -> Path:
    """Export a checkpoint; returns the `.onnx` file.

    It is not verified here: its configurations are compared with PyTorch anyway.

    Raises:
        BenchmarkError: the export failed; with its own message.
    """
    directory = folder / f"{export.lowering}-{export.precision}"
    options = ["--lowering", export.lowering, "--precision", export.precision]
    if export.precision == "int8":
        options += ["--calibrate", str(int8.calibrate)] if int8.calibrate else []
        options += ["--min-iou", str(int8.min_iou)] if int8.min_iou is not None else []
    return Path(run_export(checkpoint, directory, *options)["file"])


def run_export(
    checkpoint: Path, directory: Path, *options: str, verify: bool = False
) -> dict[str, Any]:
    """Run `birefnet export` in a process of its own; returns its `--json` report.

    Raises:
        BenchmarkError: the export failed; with its own message.
    """
    arguments = ("export", str(checkpoint), "-o", str(directory), *options, "--json")
    verified = "--verify" if verify else "--no-verify"
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments, verified], capture_output=True, text=True
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BenchmarkError(last.removeprefix("birefnet: "))
    report: dict[str, Any] = json.loads(done.stdout)
    return report
