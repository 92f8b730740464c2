"""ONNX Runtime's own lines on stderr caught; a sign of life in long waits, for the logger.

Nothing of ours is written to stderr from here, but for `write_line`, which the command line uses.
"""

import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from birefnet_models.base.text import format_seconds

log = logging.getLogger("birefnet")
"""The library's: what takes long and what is fetched or made, at INFO."""
_lock = threading.Lock()
_terminal: int | None = None
"""Where stderr went before it was caught."""


@dataclass(slots=True)
class Caught:
    """`text` is there when the block has ended."""

    text: str = ""


@contextmanager
def caught_stderr() -> Iterator[Caught]:
    """Catch what is written to file descriptor 2 inside the block.

    ONNX Runtime's default logger writes there, past Python, and nothing can be hung in its place.
    Lines of other threads are caught too, so the block should be short.
    """
    global _terminal
    caught = Caught()
    with _lock, tempfile.TemporaryFile() as file:
        try:
            terminal = os.dup(2)
        except OSError:  # a daemon may have closed it
            yield caught
            return
        sys.stderr.flush()
        os.dup2(file.fileno(), 2)
        _terminal = terminal
        try:
            yield caught
        finally:
            sys.stderr.flush()
            _terminal = None
            os.dup2(terminal, 2)
            os.close(terminal)
            file.seek(0)
            caught.text = file.read().decode(errors="replace")


def write_line(line: str) -> None:
    """Write a line to the real stderr, also from inside such a block."""
    target = _terminal
    if target is None:
        print(line, file=sys.stderr, flush=True)
    else:
        os.write(target, f"{line}\n".encode())


@contextmanager
def ticking(what: str, promise: str | None = None, every_s: float = 10.0) -> Iterator[None]:
    """Log how long `what` has taken, every so often until the block ends.

    With a promise of how long it may take, that is logged at once, and at the end how long it was.
    """
    started, done = time.monotonic(), threading.Event()

    def tick(how: str = "") -> None:
        log.info("%s: %s%s", what, how, format_seconds(time.monotonic() - started))

    def keep_ticking() -> None:
        while not done.wait(every_s):
            tick()

    if promise:
        log.info("%s; %s", what, promise)
    ticker = threading.Thread(target=keep_ticking, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()
    if promise:
        tick("took ")
