"""A whole run: entrants to cases, cases to outcomes, outcomes to a report that grows."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from birefnet_runtime.model.input_size import format_size

from ..errors import BenchmarkError
from .accuracy import Answers
from .configurations import Case, Entrant, Grid, cases_of
from .environment import read_environment
from .interleave import Race, describe
from .measure.process import Limits
from .measure.roofline import Question, ask
from .measure.timing import Clock
from .models import Request, entrants, trained_size
from .results import Outcome, Peak, Report, write_report

Say = Callable[[str], None]
FLOOR_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and how long rows run."""

    sizes: tuple[tuple[int, int], ...]
    """(height, width) each; none: the size that the first graph was trained at."""
    batches: tuple[int, ...]
    threads: tuple[int, ...]
    seconds: float
    limits: Limits
    images: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    """What the person who measures wants readers to know."""


class Run:
    """One run of `birefnet bench` into a folder.

    Args:
        directory: gets `report.json` and `pictures/`.
        command: as typed, for the record.
        say: is told what is running and what is left, a line at a time.
    """

    def __init__(
        self,
        directory: Path,
        command: Sequence[str],
        say: Say,
        clock: Clock = time.perf_counter,
    ) -> None:
        self._directory = directory
        self._say = say
        self._clock = clock
        self._begun = clock()
        self.report = Report(
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            took_s=0.0,
            command=tuple(command),
            seconds=0.0,
            environment=read_environment(),
            outcomes=(),
        )

    def measure(self, request: Request, setting: Setting) -> Report:
        """Measure everything. What is known is on the disk after each case.

        Raises:
            BirefnetError: what is asked for makes no sense or isn't there. A row that fails is a
                result, not an error.
        """
        self.report = replace(self.report, seconds=setting.seconds, notes=setting.notes)
        with tempfile.TemporaryDirectory() as temporary:
            scratch = Path(temporary)
            found = entrants(request, scratch, self._say, self._clock)
            grids = {
                entrant.model: Grid(
                    setting.sizes or (trained_size(entrant),), setting.batches, setting.threads
                )
                for entrant in found
            }
            if len(grids) < len(found):
                raise BenchmarkError("two models are called the same; rename one")
            self._find_floor(found, grids)
            cases = [case for each in found for case in cases_of(each, grids[each.model])]
            for number, case in enumerate(cases, 1):
                self._announce(case, number, len(cases), setting.seconds)
                self._race(case, setting, scratch)
            self._find_floor((), grids)
        self._write(notes=_notes(request, setting, self.report.outcomes))
        return self.report

    def interrupted(self) -> None:
        """Keep what is there, and say that it isn't all."""
        self._write(notes=(*self.report.notes, "Interrupted: rows are missing."))

    def _announce(self, case: Case, number: int, cases: int, seconds: float) -> None:
        first = case.rows[0]
        warm_s = seconds * (len(case.rows) - len(case.problems))
        self._say(
            f"{first.model} at {format_size(first.size)}, batch {first.batch}, {first.threads} "
            f"threads: {len(case.rows)} rows, about {warm_s:.0f} s of warm runs "
            f"(case {number} of {cases})"
        )

    def _race(self, case: Case, setting: Setting, scratch: Path) -> None:
        """Run one case; its outcomes in the order of its rows."""
        answers = Answers(setting.images, self._directory, scratch)
        race = Race(setting.seconds, setting.limits, random.Random(), answers.finish, self._say)
        before = self.report.outcomes
        done = {row: Outcome(row, error=problem) for row, problem in case.problems.items()}

        def write() -> None:
            self._write(outcomes=before + tuple(done[row] for row in case.rows if row in done))

        write()
        for outcome in race.run([row for row in case.rows if row not in case.problems]):
            done[outcome.row] = outcome
            self._say(f"  {len(done)} of {len(case.rows)} rows done: {describe(outcome.row)}")
            write()

    def _find_floor(self, found: Sequence[Entrant], grids: dict[str, Grid]) -> None:
        """Time the matrix product, before the rows and after; the better one counts."""
        self._say("timing this machine's matrix product")
        shapes = {
            (batch, size)
            for grid in grids.values()
            for batch in grid.batches
            for size in grid.sizes
        }
        threads = {each for grid in grids.values() for each in grid.threads}
        question = Question(
            threads=tuple(sorted(threads)),
            checkpoints=tuple((e.model, str(e.checkpoint)) for e in found if e.checkpoint),
            shapes=tuple(sorted(shapes)),
        )
        peaks, work = ask(question, FLOOR_TIMEOUT_S)
        self._write(peaks=_better(self.report.peaks, peaks), work=self.report.work + work)

    def _write(self, **changes: Any) -> None:
        took_s = self._clock() - self._begun
        self.report = replace(self.report, took_s=took_s, **changes)
        write_report(self._directory, self.report)


def _better(some: Sequence[Peak], more: Sequence[Peak]) -> tuple[Peak, ...]:
    """The faster of each library's products at each number of threads."""
    best: dict[tuple[int, str], Peak] = {}
    for peak in (*some, *more):
        key = (peak.threads, peak.library)
        if key not in best or peak.flops_per_s > best[key].flops_per_s:
            best[key] = peak
    return tuple(best[key] for key in sorted(best))


def _notes(request: Request, setting: Setting, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """What a reader must know that no row says."""
    notes = [*setting.notes]
    if not any(outcome.row.backend == "pytorch" for outcome in outcomes):
        notes.append(
            "Without --against CHECKPOINT there is no PyTorch here: rows are compared with the "
            "first one, and the share of the floor is not known."
        )
    if not setting.images:
        notes.append("Without --images no whole pipelines were compared, only graphs.")
    elif any(batch > 1 for batch in setting.batches):
        notes.append("Pictures and whole pipelines are those of batch 1.")
    if not any(turn.energy_j is not None for each in outcomes for turn in each.turns):
        notes.append("No counter of energy could be read.")
    return tuple(notes)
