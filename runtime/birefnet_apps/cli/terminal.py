"""Lines and a bar on standard error while a command works, and how it is stopped."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

import click
from birefnet_models.base.text import format_seconds, printable
from birefnet_models.pins import FetchOptions
from birefnet_runtime.model.locate import ModelFile
from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ..files.jobs import CutoutPlan
from ..storage import Location, plain
from ..storage.models import find_any_model
from .main import ENDING, SIGHUP, leave_terminal

if TYPE_CHECKING:
    from ..files.records import RecordWriter

SKIP_EXISTING = "the same command with --skip-existing goes on there"
STOPPED = 128
"""Exit code after a signal, less its number: what shells give a program that the signal ends."""

# One console for the bars and the lines, so that neither is written into the other.
console = Console(stderr=True)


def say(what: object) -> None:
    """Print a line for people, whatever names are in it."""
    line = printable(f"birefnet: {what}")
    console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)


def progress_bar(total: int | None) -> Progress:
    """A bar with counts and rate; shows nothing where there is but one thing to do."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(""),
        TimeRemainingColumn(),
        console=console,
        disable=total == 1,
    )


class Interruption:
    """Whether a run is to end before all is done, and by which signal.

    Attributes:
        signal: Ctrl-C's, SIGTERM's or SIGHUP's number; 0 as long as none has come.
    """

    signal = 0

    def __call__(self) -> bool:
        """Whether a signal has come."""
        return self.signal != 0

    def handle(self, number: int, _: FrameType | None) -> None:
        """Take note of the first signal; a second one interrupts."""
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number
        if number == SIGHUP:
            leave_terminal()
        else:
            say("finishing what is in hand; Ctrl-C again to drop it")


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into a question; a second one interrupts.

    Yields:
        Whether one has come.
    """
    asked = Interruption()
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in ENDING:
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
                before[number] = signal.signal(number, asked.handle)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Rate(TextColumn):
    """Things a second, or seconds a thing."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.3g}/s" if speed >= 1 else f"{1 / speed:.2g} s each")


# What commands do to have a model on this machine: fetch it, with a bar, if its name says so.

MODEL_HELP = (
    "A name from `birefnet models`, an .onnx file, a directory that holds one, or what is fetched "
    "once: OWNER/NAME[@REVISION][:PRECISION] of the hub, or the URL of an .onnx."
)


def located(model: str | os.PathLike[str]) -> ModelFile:
    """The model of this name or path, found; errors are those of `find_model`."""
    with fetch_bar() as progress:
        return find_any_model(model, FetchOptions(say=say, progress=progress))


@contextmanager
def fetch_bar() -> Iterator[FetchBar | None]:
    """A progress bar for downloads on a terminal; None elsewhere."""
    if not console.is_terminal:
        yield None
        return
    bar = FetchBar()
    with Live(Group(bar.bytes, bar.steps), console=console, transient=True):
        yield bar


class FetchBar:
    """A bar of the bytes that have come, and below it the step that goes on.

    Attributes:
        bytes: shown while a file is fetched.
        steps: shown from the first `step` on.
    """

    def __init__(self) -> None:
        columns = (TextColumn("fetching"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self.bytes = Progress(*columns, console=console)
        self.steps = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console
        )
        self._fetch = self.bytes.add_task("fetching", visible=False)
        self._step: TaskID | None = None

    def __call__(self, have: int, total: int | None) -> None:
        """Show how much of a file is here."""
        self.bytes.update(self._fetch, completed=have, total=total, visible=have != total)

    def step(self, what: str) -> None:
        """Show what is being done, with the time since it began."""
        if self._step is not None:
            self.steps.remove_task(self._step)
        self._step = self.steps.add_task(printable(what), total=None)


# The lines of a run of many files: one for each failure, and the last, which counts.


class Summary:
    """What is said of a run while it goes on and at its end.

    Args:
        plan: what is to be done.
        output: as it was typed.
        noun: what comes out, `cutout` or `mask`.
        lines: where a JSON line for each file goes, if any.
        records: takes each record, too.
    """

    def __init__(
        self,
        plan: CutoutPlan,
        output: Location,
        noun: str,
        lines: IO[str] | None = None,
        records: RecordWriter | None = None,
    ) -> None:
        self._plan = plan
        self._output = output
        self._noun = noun
        self._lines = lines
        self._records = records
        self._started = time.perf_counter()
        self._done = self._skipped = self.failed = 0
        self._told = 0
        self._only_target = ""
        if plan.failures:
            self._tell_failures()

    @property
    def reports(self) -> int:
        """How many files have had their record."""
        return self._done + self._skipped + self.failed - self._told

    def add(self, record: Mapping[str, Any], details: Mapping[str, Any] | None = None) -> None:
        """Count the next file, and say what is worth a line.

        Args:
            record: as JSON has it.
            details: what records of the run say beside that.
        """
        if record.get("error") is not None:
            self.failed += 1
            say(record["error"])
        elif record.get("skipped"):
            self._skipped += 1
        else:
            self._done += 1
            if record.get("found") is False:
                say(f"{record['input']}: no subject found")
        if self._plan.count == 1:
            self._only_target = str(record["output"])
        if self._lines or self._records:
            self._keep(record, details or {})

    def close(self, left: str | None, code: int = 0, *, advice: str = SKIP_EXISTING) -> None:
        """Say what was done, and end the program accordingly.

        Args:
            left: of a run that was stopped, where; None if all was done.
            code: to exit with where it was stopped; 1 where something failed.
            advice: how to go on.

        Raises:
            click.exceptions.Exit: not everything went well.
        """
        if len(self._plan.failures) > self._told:
            self._tell_failures()
        if self._records is not None:
            self._records.flush()
        took = format_seconds(time.perf_counter() - self._started)
        line = f"{self._done} {self._noun}{'' if self._done == 1 else 's'} in {took}"
        if self._skipped:
            line += f", {self._skipped} there already"
        if self.failed:
            line += f", {self.failed} failed"
        say(f"{line}: {self._only_target or self._output}" if self._done else line)
        if left is not None:
            say(f"stopped {left}; {advice}")
            raise click.exceptions.Exit(code or 1)
        if self.failed:
            raise click.exceptions.Exit(1)

    def _keep(self, record: Mapping[str, Any], details: Mapping[str, Any]) -> None:
        if self._lines is not None:
            click.echo(json.dumps(record), file=self._lines)
        if self._records is not None:
            self._records.add({**record, **details})

    def _tell_failures(self) -> None:
        """Say which inputs can't be done, as far as that is known."""
        for failure in self._plan.failures[self._told :]:
            self._told += 1
            self.failed += 1
            say(failure.error)
            source = plain(failure.source)
            self._keep({"input": source, "output": None, "error": str(failure.error)}, {})
