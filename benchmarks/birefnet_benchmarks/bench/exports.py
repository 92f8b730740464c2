"""A checkpoint's ONNX variants, each exported by `birefnet export` in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BenchmarkError

COMMAND = "from birefnet_runtime.cli.main import main; main()"
"""`birefnet`, for `python -c`."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to export a checkpoint."""

    lowering: str
    precision: str


@dataclass(frozen=True, slots=True)
class Exporting:
    """What every export of a run has in common."""

    calibrate: Path | None = None
    min_iou: float | None = None


def variants(lowerings: Sequence[str], precisions: Sequence[str]) -> tuple[Variant, ...]:
    """Every lowering in the first precision, and every further precision in the first lowering.

    The product of both would be most of the time spent on rows that nobody compares.
    """
    across = [Variant(lowering, precisions[0]) for lowering in lowerings]
    down = [Variant(lowerings[0], precision) for precision in precisions[1:]]
    return tuple(across + down)


def export_variant(checkpoint: Path, variant: Variant, folder: Path, how: Exporting) -> Path:
    """The `.onnx` file of a variant.

    It is not compared with PyTorch here: that is what the row is for.

    Raises:
        BenchmarkError: the export failed; with its own line.
    """
    directory = folder / f"{variant.lowering}-{variant.precision}"
    options = ["--lowering", variant.lowering, "--precision", variant.precision]
    if variant.precision == "int8":
        options += ["--calibrate", str(how.calibrate)] if how.calibrate else []
        options += ["--min-iou", str(how.min_iou)] if how.min_iou is not None else []
    return Path(run_export(checkpoint, directory, *options)["file"])


def run_export(
    checkpoint: Path, directory: Path, *options: str, verify: bool = False
) -> dict[str, Any]:
    """What `birefnet export --json` reports, in a process of its own.

    Raises:
        BenchmarkError: the export failed; with its own line.
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
