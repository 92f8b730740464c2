"""What a run shows: lines and a bar for people on standard error, JSON on standard output."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress import Task as BarTask
from rich.text import Text

from ..batch.file_cutter import Report
from ..batch.plan import Job, Plan
from ..units import format_seconds

STOPPED = 130
"""Exit code after Ctrl-C: what shells give a program that SIGINT ends."""


class CutOut(Protocol):
    """`FileCutter.cut_out`."""

    def __call__(self, jobs: Sequence[Job], *, stopped: Callable[[], bool]) -> Iterator[Report]: ...


class Show:
    """Follows the run of a plan.

    Args:
        planned: what is to be done.
        noun: what comes out, `cutout` or `mask`.
        as_json: print a line for each file.
    """

    def __init__(self, planned: Plan, noun: str, as_json: bool) -> None:
        self._planned = planned
        self._noun = noun
        self._as_json = as_json
        self._started = time.perf_counter()
        self._done = self._skipped = 0
        self._failed = len(planned.failures)
        self._next: Job | None = None
        # One console for the bar and the lines, so that neither is written into the other.
        self._console = Console(stderr=True)
        for failure in planned.failures:
            self.say(failure)
            self._record({"input": None, "output": None, "error": str(failure)})

    def say(self, what: object) -> None:
        """A line for people."""
        self._console.print(
            f"birefnet: {what}", markup=False, highlight=False, emoji=False, soft_wrap=True
        )

    def follow(self, cut_out: CutOut) -> None:
        """Carry the plan out under a progress bar, until it is done or Ctrl-C is pressed."""
        jobs = self._planned.jobs
        with Interrupts(self.say) as interrupts, self._bar() as bar:
            task = bar.add_task("cutting out", total=len(jobs), visible=len(jobs) > 1)
            following = iter(jobs)
            for report in cut_out(jobs, stopped=interrupts.came):
                next(following)
                self._tell(report)
                bar.advance(task)
            if interrupts.came():
                self._next = next(following, None)

    def sum_up(self, output: Path) -> None:
        """Say what was done, and end the program accordingly.

        Raises:
            click.exceptions.Exit: not everything went well.
        """
        self.say(self._summary(output))
        if self._next is not None:
            self.say(
                f"stopped before {self._next.source}; the same command with --skip-existing "
                "goes on there"
            )
            raise click.exceptions.Exit(STOPPED)
        if self._failed:
            raise click.exceptions.Exit(1)

    def _tell(self, report: Report) -> None:
        if report.error is not None:
            self._failed += 1
            self.say(report.error)
        elif report.skipped:
            self._skipped += 1
        else:
            self._done += 1
            if report.subject and not report.subject.found:
                self.say(f"{report.job.source}: no subject found")
        self._record(report.as_record())

    def _record(self, record: dict[str, Any]) -> None:
        if self._as_json:
            click.echo(json.dumps(record))

    def _summary(self, output: Path) -> str:
        took = format_seconds(time.perf_counter() - self._started)
        line = f"{self._done} {self._noun}{'' if self._done == 1 else 's'} in {took}"
        if self._skipped:
            line += f", {self._skipped} there already"
        if self._failed:
            line += f", {self._failed} failed"
        jobs = self._planned.jobs
        return f"{line}: {jobs[0].target if len(jobs) == 1 else output}" if self._done else line

    def _bar(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(""),
            TimeRemainingColumn(),
            console=self._console,
            disable=len(self._planned.jobs) == 1,
        )


class Interrupts:
    """Turns the first Ctrl-C into a question that can be asked; a second one interrupts."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._event = threading.Event()
        self._previous: Any = None

    def came(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._event.is_set()

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._event.is_set():
            raise KeyboardInterrupt
        self._event.set()
        self._say("finishing what is in hand; Ctrl-C again to drop it")


class Rate(TextColumn):
    """Things a second, or seconds a thing."""

    def render(self, task: BarTask) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.3g}/s" if speed >= 1 else f"{1 / speed:.2g} s each")
