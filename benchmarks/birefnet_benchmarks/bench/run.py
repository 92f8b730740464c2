"""A whole run: models to workloads, workloads to results, results to a report that grows."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from birefnet_models.base.text import format_size
from birefnet_runtime.images.read import read_image

from .accuracy import AccuracyCheck
from .environment import read_environment
from .inputs import BenchRequest, Log, bench_models, trained_size
from .interleave import InterleavedRuns, describe_configuration
from .measure.process import Limits
from .measure.roofline import measure_roofline
from .measure.timing import Clock
from .results import BenchReport, ConfigurationResult, MatmulPeak, write_report
from .workloads import BenchModel, Grid, Workload, workloads_of

ROOFLINE_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Where and how long configurations run."""

    grid: Grid
    """Without sizes: the size at which each model was trained."""
    seconds: float
    """Of warm runs for each configuration."""
    limits: Limits
    images: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    """Remarks of the person who measures, for the report's readers."""


class Run:
    """One run of `birefnet bench` into a folder.

    Args:
        directory: gets `report.json` and `pictures/`.
        command: as typed, for the report.
        log: called with lines that say what is running and what is left.
    """

    def __init__(
        self,
        directory: Path,
        command: Sequence[str],
        log: Log,
        clock: Clock = time.perf_counter,
    ) -> None:
        self._directory = directory
        self._log = log
        self._clock = clock
        self._begun = clock()
        self.report = BenchReport(
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            took_s=0.0,
            command=tuple(command),
            seconds=0.0,
            environment=read_environment(),
            results=(),
        )

    def measure(self, request: BenchRequest, settings: RunSettings) -> BenchReport:
        """Measure everything, and store the report after each configuration.

        Raises:
            BirefnetError: the request makes no sense, or a model isn't there. A configuration that
                fails is a result, not an error.
        """
        self._write(seconds=settings.seconds, notes=settings.notes)
        for image in settings.images:
            read_image(image)  # one that can't be read is an error before anything is measured
        with tempfile.TemporaryDirectory() as temporary:
            scratch = Path(temporary)
            models = bench_models(request, scratch, self._log, self._clock)
            trained = {model.name: trained_size(model) for model in models}
            self._write(trained_sizes=trained)
            grids = {
                name: replace(settings.grid, sizes=settings.grid.sizes or (size,))
                for name, size in trained.items()
            }
            self._measure_roofline(models, grids)
            workloads = [
                workload for model in models for workload in workloads_of(model, grids[model.name])
            ]
            for number, workload in enumerate(workloads, 1):
                self._announce(workload, f"workload {number} of {len(workloads)}", settings.seconds)
                self._measure_workload(workload, settings, scratch)
            self._measure_roofline((), grids)
        self._write(notes=_notes(request, settings, self.report.results))
        return self.report

    def interrupted(self) -> None:
        """Keep what was measured, and note that it is incomplete."""
        self._write(notes=(*self.report.notes, "Interrupted: configurations are missing."))

    def _announce(self, workload: Workload, place: str, seconds: float) -> None:
        first = next(iter(workload))
        runnable = sum(problem is None for problem in workload.values())
        self._log(
            f"{first.model} at {format_size(first.size)}, batch {first.batch}, {first.threads} "
            f"threads: {len(workload)} configurations, about {seconds * runnable:.0f} s of warm "
            f"runs ({place})"
        )

    def _measure_workload(self, workload: Workload, settings: RunSettings, scratch: Path) -> None:
        """Store the results of one workload in the order of its configurations."""
        accuracy = AccuracyCheck(settings.images, self._directory, scratch)
        runs = InterleavedRuns(
            settings.seconds, settings.limits, random.Random(), accuracy.compare, self._log
        )
        before = self.report.results
        done = {
            c: ConfigurationResult(c, error=problem) for c, problem in workload.items() if problem
        }

        def write() -> None:
            self._write(results=before + tuple(done[c] for c in workload if c in done))

        write()
        for result in runs.run([c for c, problem in workload.items() if problem is None]):
            done[result.configuration] = result
            name = describe_configuration(result.configuration)
            self._log(f"  {len(done)} of {len(workload)} configurations done: {name}")
            write()

    def _measure_roofline(self, models: Sequence[BenchModel], grids: dict[str, Grid]) -> None:
        """Time the matrix product, before all configurations and after; the faster one counts."""
        self._log("timing this machine's matrix product")
        shapes = {(batch, size) for g in grids.values() for batch in g.batches for size in g.sizes}
        peaks, counts = measure_roofline(
            threads=sorted({threads for g in grids.values() for threads in g.threads}),
            checkpoints=[(m.name, str(m.checkpoint)) for m in models if m.checkpoint],
            shapes=sorted(shapes),
            timeout_s=ROOFLINE_TIMEOUT_S,
        )
        self._write(
            matmul_peaks=_fastest(self.report.matmul_peaks + peaks),
            operation_counts=self.report.operation_counts + counts,
        )

    def _write(self, **changes: Any) -> None:
        took_s = self._clock() - self._begun
        self.report = replace(self.report, took_s=took_s, **changes)
        write_report(self._directory, self.report)


def _fastest(peaks: Sequence[MatmulPeak]) -> tuple[MatmulPeak, ...]:
    """The fastest of each library's products at each number of threads."""
    best: dict[tuple[int, str], MatmulPeak] = {}
    for peak in peaks:
        key = (peak.threads, peak.library)
        if key not in best or peak.flops_per_s > best[key].flops_per_s:
            best[key] = peak
    return tuple(best[key] for key in sorted(best))


def _notes(
    request: BenchRequest, settings: RunSettings, results: Sequence[ConfigurationResult]
) -> tuple[str, ...]:
    """Remarks that concern no single configuration."""
    notes = [*settings.notes]
    if not any(result.configuration.backend == "pytorch" for result in results):
        notes.append(
            "Without --against CHECKPOINT nothing ran in PyTorch: configurations are compared with "
            "the first one, and their share of the roofline is not known."
        )
    if not settings.images:
        notes.append("Without --images no whole pipelines were compared, only graphs.")
    elif any(batch > 1 for batch in settings.grid.batches):
        notes.append("Pictures and whole pipelines are those of batch 1.")
    if not any(runs.energy_j is not None for result in results for runs in result.rounds):
        notes.append("No energy counter could be read.")
    return tuple(notes)
