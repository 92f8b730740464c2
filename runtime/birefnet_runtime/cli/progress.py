"""What commands show on standard error while they work: lines, a bar, and how Ctrl-C is taken."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress import Task as BarTask
from rich.text import Text

STOPPED = 130
"""Exit code after Ctrl-C: what shells give a program that SIGINT ends."""

# One console for the bar and the lines, so that neither is written into the other.
_console = Console(stderr=True)


def say(what: object) -> None:
    """Print a line for people."""
    _console.print(f"birefnet: {what}", markup=False, highlight=False, emoji=False, soft_wrap=True)


def progress_bar(total: int | None) -> Progress:
    """A bar with counts and rate; shows nothing where there is but one thing to do."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(""),
        TimeRemainingColumn(),
        console=_console,
        disable=total == 1,
    )


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a question; a second one interrupts.

    Yields:
        Whether Ctrl-C was pressed.
    """
    pressed = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()
        say("finishing what is in hand; Ctrl-C again to drop it")

    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, previous)


class Rate(TextColumn):
    """Things a second, or seconds a thing."""

    def render(self, task: BarTask) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.3g}/s" if speed >= 1 else f"{1 / speed:.2g} s each")
