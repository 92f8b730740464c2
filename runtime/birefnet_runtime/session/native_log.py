"""What native code writes to stderr, caught."""

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_lock = threading.Lock()
_terminal: int | None = None
"""Where stderr went before it was caught."""


@dataclass(slots=True)
class Caught:
    """`text` is there when the block has ended."""

    text: str = ""


@contextmanager
def caught_stderr(*, enabled: bool = True) -> Iterator[Caught]:
    """Catch what is written to file descriptor 2 inside the block.

    ONNX Runtime's default logger writes there, past Python, and nothing can be hung in its place.
    Lines of other threads are caught too, so the block should be short.
    """
    global _terminal
    caught = Caught()
    if not enabled:
        yield caught
        return
    with _lock, tempfile.TemporaryFile() as file:
        terminal = _duplicate()
        if terminal is None:
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


def say(line: str) -> None:
    """Write a line to the real stderr, also from inside such a block."""
    target = _terminal
    if target is None:
        print(line, file=sys.stderr, flush=True)
    else:
        os.write(target, f"{line}\n".encode())


def _duplicate() -> int | None:
    try:
        return os.dup(2)
    except OSError:  # a daemon may have closed it
        return None
