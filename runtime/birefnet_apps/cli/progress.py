"""Lines and a bar on standard error while a command works, and how it is stopped."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from signal import SIGINT, SIGTERM
from types import FrameType

from birefnet_models.text import printable
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress import Task as BarTask
from rich.text import Text

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

    def render(self, task: BarTask) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.3g}/s" if speed >= 1 else f"{1 / speed:.2g} s each")
