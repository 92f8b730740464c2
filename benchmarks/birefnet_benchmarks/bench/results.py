"""Results of a run as they are stored. Every document is rebuilt from them.

A run's folder holds `report.json`, which is a `BenchReport`, and `pictures/` with its previews.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from birefnet_models.base.files import replacing
from birefnet_models.base.text import first_line, printable

from ..errors import ReportError
from .configuration import Configuration as Configuration
from .environment import Environment

REPORT_SCHEMA = "birefnet-bench"
REPORT_VERSION = 2
"""Goes up when a field changes its meaning or goes away; a new field with a default doesn't."""
REPORT_FILE = "report.json"
PICTURES_FOLDER = "pictures"


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Seconds from the start of a process to its first answer, with the files in the page cache."""

    import_s: float
    """Start the interpreter, and import what the backend needs."""
    load_s: float
    """Open the model: a session's creation, or weights into a module."""
    first_s: float
    """The first run, which allocates, and compiles where something is compiled."""


@dataclass(frozen=True, slots=True)
class Round:
    """Warm runs of one configuration in one round, before the next configuration's."""

    group: int
    """Configurations whose processes were alive at the same time have the same number."""
    number: int
    """Of the round. In each round every configuration of a group runs once, in random order."""
    times_s: tuple[float, ...]
    """Each run: tensor in host memory to logits in host memory."""
    other_cores: float
    """Cores that other processes kept busy meanwhile, on average; 0 where it can't be read."""
    energy_j: float | None = None
    """Of the whole package or GPU meanwhile; None where no counter can be read."""


@dataclass(frozen=True, slots=True)
class TensorDifference:
    """Absolute differences over all elements."""

    max_abs: float
    """The largest."""
    p99_abs: float
    """The 99th percentile."""
    mean_abs: float
    """The mean."""


@dataclass(frozen=True, slots=True)
class GraphParity:
    """The same tensor through a configuration and through its baseline."""

    logits: TensorDifference
    """Of the network's output."""
    mask: TensorDifference
    """Of the sigmoid, in [0, 1]."""
    problem: str | None
    """What is beyond the tolerance of this precision; None if nothing is."""


@dataclass(frozen=True, slots=True)
class PipelineParity:
    """The same image file through the whole pipelines of a configuration and of its baseline."""

    mae: float
    """Mean absolute difference of alpha, in [0, 1]."""
    max_levels: float
    """The largest difference in 8-bit levels, not rounded."""
    iou: float
    """Intersection over union of the masks cut at .5."""
    band_share: float
    """Share of the pixels that lie in the band around the edge of the baseline's mask."""
    band_mae: float | None
    """As `mae`, in the band; None where there is no edge."""
    band_max_levels: float | None
    """As `max_levels`."""
    boundary_iou: float
    """As `iou`, of the parts of both masks that lie along their own edges."""
    problem: str | None
    """As in `GraphParity`."""


@dataclass(frozen=True, slots=True)
class Preview:
    """Pictures of one image file that went through a configuration's whole pipeline."""

    image: str
    """The file's name."""
    thumbnail: str
    """The image, scaled down; a path from the run's folder."""
    mask: str
    """The configuration's mask, scaled down, 8-bit gray; a path from the run's folder."""
    difference: str | None = None
    """To the baseline's mask: 8-bit levels, the largest of each tile; a path, too."""
    parity: PipelineParity | None = None
    """None for the baseline itself, and where there is none."""


@dataclass(frozen=True, slots=True)
class ConfigurationResult:
    """Result of one configuration. What was measured before an error stays."""

    configuration: Configuration
    cold: ColdStart | None = None
    rounds: tuple[Round, ...] = ()
    peak_rss_bytes: int | None = None
    """Of its process, before previews were made."""
    peak_device_bytes: int | None = None
    """Of the GPU, beyond what was taken before the configuration's process began."""
    facts: dict[str, str] = field(default_factory=dict)
    """What the backend reports: versions, what ran where."""
    graph: GraphParity | None = None
    """None for the baseline itself, without a baseline, and where either gave no logits."""
    previews: tuple[Preview, ...] = ()
    error: str | None = None
    """Why it ended early, in one line: it crashed, ran out of memory or out of time, or can't run
    what it was asked to."""


@dataclass(frozen=True, slots=True)
class MatmulPeak:
    """Speed of the fastest fp32 matrix product of 2048 x 2048 that was timed."""

    threads: int
    """That the product ran on."""
    library: str
    """That computed it."""
    flops_per_s: float
    """A multiplication and an addition count as two."""


@dataclass(frozen=True, slots=True)
class OperationCount:
    """Multiply-adds of a model at one size and batch, counted on the plain module."""

    model: str
    """As in `Configuration`."""
    size: tuple[int, int]
    """(height, width)"""
    batch: int
    """Images in one run."""
    multiply_adds: float
    """Of one run, that is of the whole batch."""


@dataclass(frozen=True, slots=True)
class BenchReport:
    """A whole run of `birefnet bench`."""

    started: str
    """ISO 8601, UTC."""
    took_s: float
    """The whole run."""
    command: tuple[str, ...]
    """As it was typed."""
    seconds: float
    """Of warm runs that each configuration was given at most."""
    environment: Environment
    results: tuple[ConfigurationResult, ...]
    matmul_peaks: tuple[MatmulPeak, ...] = ()
    operation_counts: tuple[OperationCount, ...] = ()
    trained_sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """(height, width) by model, as far as its file says."""
    notes: tuple[str, ...] = ()
    """Remarks for readers: what was left out, and why."""
    schema: str = REPORT_SCHEMA
    """What tells such a file from others."""
    version: int = REPORT_VERSION
    """Of the schema. Another one is refused."""


def write_report(directory: Path, report: BenchReport) -> Path:
    """Write a run's `report.json`, whole or not at all; returns its path.

    Raises:
        ReportError: the folder or the file can't be written.
    """
    path = directory / REPORT_FILE
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with replacing(path) as unnamed:
            unnamed.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    except OSError as error:
        raise ReportError(f"{path}: can't be written: {error.strerror}") from error
    return path


def read_report(path: Path) -> BenchReport:
    """Read a run back, from its folder or from the JSON file itself.

    Raises:
        ReportError: no such file, no report of `birefnet bench`, one of another version, or one
            with numbers that nothing can have measured.
    """
    file, content = _content(path)
    try:
        head = msgspec.json.decode(content, type=_Head)
    except UNREADABLE as error:
        raise ReportError(f"{file}: no report of `birefnet bench`: {first_line(error)}") from error
    if (head.schema, head.version) != (REPORT_SCHEMA, REPORT_VERSION):
        raise ReportError(
            f"{file}: holds {printable(head.schema[:40])} {head.version}, and this version reads "
            f"{REPORT_SCHEMA} {REPORT_VERSION}; measure again"
        )
    try:
        report = msgspec.json.decode(content, type=BenchReport)
    except UNREADABLE as error:
        raise ReportError(f"{file}: a damaged report: {first_line(error)}") from error
    if problem := _problem(report):
        raise ReportError(f"{file}: a damaged report: {problem}")
    return report


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _content(path: Path) -> tuple[Path, bytes]:
    """The file of a report, and its bytes."""
    file = path
    try:
        if path.is_dir():
            file = path / REPORT_FILE
            if file.exists() and not file.is_file():
                raise ReportError(f"{file}: no regular file")  # a pipe would never end
        return file, file.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ReportError(
            f"{file}: can't be read: {why}; give a folder that `birefnet bench --output` wrote"
        ) from error


@dataclass(frozen=True, slots=True)
class _Head:
    """What tells a report from other JSON."""

    schema: str = "something else"
    version: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0


POSITIVE = frozenset(("size", "batch", "threads", "times_s", "flops_per_s"))
SMALLEST, LARGEST = 1e-9, 1e18
"""Bounds of numbers; those of `POSITIVE` fields are at least the smallest, others may be 0."""


def _problem(value: Any, name: str = "report") -> str | None:
    """The first number in a record that nothing can have measured."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        least = SMALLEST if name in POSITIVE else 0
        return None if least <= value <= LARGEST else f"`{name}` is out of range"
    if is_dataclass(value):
        parts = [(getattr(value, field.name), field.name) for field in fields(value)]
    elif isinstance(value, tuple):
        parts = [(part, name) for part in value]
    else:
        return None
    return next((problem for part, of in parts if (problem := _problem(part, of))), None)


def baseline_of(
    configuration: Configuration, results: Iterable[ConfigurationResult]
) -> ConfigurationResult | None:
    """The result that a configuration is compared with; None for a baseline, and without one."""
    if configuration.baseline:
        return None
    workload = configuration.workload
    others = ((result.configuration, result) for result in results)
    return next((r for other, r in others if other.baseline and other.workload == workload), None)


def write_results(output: Path, stored: Mapping[str, Any]) -> None:
    """Write a results file; a reader finds the old one or the new one."""
    with replacing(output) as unnamed:
        unnamed.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
