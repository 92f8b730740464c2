"""Results of a run as they are stored. Every document is rebuilt from them.

A run's folder holds `report.json`, which is a `BenchReport`, and `pictures/` with its previews.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from birefnet_models.atomic_write import replacing

from ..errors import ReportError
from .configuration import Configuration as Configuration
from .environment import Environment

SCHEMA = "birefnet-bench"
VERSION = 2
"""Goes up when a field changes its meaning or goes away; a new field with a default doesn't."""
REPORT_FILE = "report.json"
PICTURES = "pictures"


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
class Difference:
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

    logits: Difference
    """Of the network's output."""
    mask: Difference
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
    """As `max_levels`, likewise."""
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
    """To the baseline's mask: 8-bit levels, the largest of each tile; a path likewise."""
    parity: PipelineParity | None = None
    """None for the baseline itself, and where there is none."""


@dataclass(frozen=True, slots=True)
class Result:
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
    results: tuple[Result, ...]
    matmul_peaks: tuple[MatmulPeak, ...] = ()
    operation_counts: tuple[OperationCount, ...] = ()
    notes: tuple[str, ...] = ()
    """Remarks for readers: what was left out, and why."""
    schema: str = SCHEMA
    """What tells such a file from others."""
    version: int = VERSION
    """Of the schema. Another one is refused."""


def write_report(directory: Path, report: BenchReport) -> Path:
    """Write a run's `report.json`, whole or not at all; returns its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / REPORT_FILE
    with replacing(path) as unnamed:
        unnamed.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    return path


def read_report(path: Path) -> BenchReport:
    """Read a run back, from its folder or from the JSON file itself.

    Raises:
        ReportError: no such file, no report of `birefnet bench`, or one of another version.
    """
    file = path / REPORT_FILE if path.is_dir() else path
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ReportError(
            f"{file}: can't be read: {error.strerror}; give a folder that `birefnet bench --output`"
            " wrote"
        ) from error
    try:
        head = msgspec.json.decode(content, type=_Head)
    except msgspec.DecodeError as error:
        raise ReportError(f"{file}: no report of `birefnet bench`: {error}") from error
    if (head.schema, head.version) != (SCHEMA, VERSION):
        raise ReportError(
            f"{file}: holds {head.schema} {head.version}, and this version reads {SCHEMA} {VERSION}"
        )
    try:
        return msgspec.json.decode(content, type=BenchReport)
    except msgspec.DecodeError as error:
        raise ReportError(f"{file}: a damaged report: {error}") from error


@dataclass(frozen=True, slots=True)
class _Head:
    """What tells a report from other JSON."""

    schema: str = "something else"
    version: int = 0


def baseline_of(configuration: Configuration, results: Iterable[Result]) -> Result | None:
    """The result that a configuration is compared with; None for a baseline, and without one."""
    if configuration.baseline:
        return None
    workload = configuration.workload
    others = ((result.configuration, result) for result in results)
    return next((r for other, r in others if other.baseline and other.workload == workload), None)
