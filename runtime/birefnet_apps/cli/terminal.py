"""Lines and a bar on standard error while a command works, and how it is stopped."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from signal import SIGINT, SIGTERM
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
from birefnet_models.base.text import format_seconds, printable
from birefnet_models.pins import FetchOptions
from birefnet_runtime.model.locate import ModelFile
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ..files.jobs import CutoutPlan
from ..storage import Location
from ..storage.models import find_any_model

if TYPE_CHECKING:
    from birefnet_models.download import Progress as OnProgress

STOPPED = 130
"""Exit code after Ctrl-C or SIGTERM: what shells give a program that SIGINT ends."""

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


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a question; a second one interrupts.

    Yields:
        Whether one has come.
    """
    asked = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        say("finishing what is in hand; Ctrl-C again to drop it")

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    interrupt, terminate = signal.signal(SIGINT, handle), signal.signal(SIGTERM, handle)
    try:
        yield asked.is_set
    finally:
        signal.signal(SIGINT, interrupt)
        signal.signal(SIGTERM, terminate)


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
def fetch_bar() -> Iterator[OnProgress | None]:
    """A progress bar for downloads on a terminal; None elsewhere."""
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("fetching"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("fetching", visible=False)

        def show(have: int, total: int | None) -> None:
            bars.update(task, completed=have, total=total, visible=have != total)

        yield show


# The lines of a run of many files: one for each failure, and the last, which counts.


class Summary:
    """What is said of a run while it goes on and at its end.

    Args:
        plan: what is to be done.
        output: as it was typed.
        noun: what comes out, `cutout` or `mask`.
        as_json: print a JSON line for each file, too.
    """

    def __init__(self, plan: CutoutPlan, output: Location, noun: str, as_json: bool) -> None:
        self._plan = plan
        self._output = output
        self._noun = noun
        self._as_json = as_json
        self._started = time.perf_counter()
        self._done = self._skipped = self._failed = 0
        self._told = 0
        self._only_target = ""
        self._tell_failures()

    @property
    def reports(self) -> int:
        """How many files have had their record."""
        return self._done + self._skipped + self._failed - self._told

    def add(self, record: Mapping[str, Any]) -> None:
        """Count the next file, and say what is worth a line."""
        if record.get("error") is not None:
            self._failed += 1
            say(record["error"])
        elif record.get("skipped"):
            self._skipped += 1
        else:
            self._done += 1
            if record.get("found") is False:
                say(f"{record['input']}: no subject found")
        if self._plan.count == 1:
            self._only_target = str(record["output"])
        if self._as_json:
            click.echo(json.dumps(record))

    def close(self, left: str | None) -> None:
        """Say what was done, and end the program accordingly.

        Args:
            left: of a run that was stopped, where; None if all was done.

        Raises:
            click.exceptions.Exit: not everything went well.
        """
        self._tell_failures()
        took = format_seconds(time.perf_counter() - self._started)
        line = f"{self._done} {self._noun}{'' if self._done == 1 else 's'} in {took}"
        if self._skipped:
            line += f", {self._skipped} there already"
        if self._failed:
            line += f", {self._failed} failed"
        say(f"{line}: {self._only_target or self._output}" if self._done else line)
        if left is not None:
            say(f"stopped {left}; the same command with --skip-existing goes on there")
            raise click.exceptions.Exit(STOPPED)
        if self._failed:
            raise click.exceptions.Exit(1)

    def _tell_failures(self) -> None:
        """Say which inputs can't be done, as far as that is known."""
        for failure in self._plan.failures[self._told :]:
            self._told += 1
            self._failed += 1
            say(failure.error)
            if self._as_json:
                record = {"input": str(failure.source), "output": None, "error": str(failure.error)}
                click.echo(json.dumps(record))
