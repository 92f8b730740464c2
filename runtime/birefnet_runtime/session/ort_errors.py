"""What ONNX Runtime complains about: its exceptions, and the log that it writes past Python."""

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from birefnet_models.errors import OnnxFileError
from birefnet_models.onnx_file import read_onnx
from birefnet_models.text import first_line

from ..model.ort_versions import older, required_version

_lock = threading.Lock()
_terminal: int | None = None
"""Where stderr went before it was caught."""


def onnxruntime_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """The classes to name behind `except`: ONNX Runtime's dozen, which share no base, and `others`.

    Without ONNX Runtime, `others` alone.
    """
    try:
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ModuleNotFoundError:
        return others
    members = (getattr(state, name) for name in dir(state))
    own = (kind for kind in members if isinstance(kind, type) and issubclass(kind, Exception))
    return (*own, *others)


def why_too_old(path: Path, version: str) -> str | None:
    """Why an ONNX Runtime of this version can't load a file; None if age is not known to be why.

    To be asked once it has failed: a build of one's own may know more than its number says.
    """
    try:
        file = read_onnx(path)
    except OnnxFileError:
        return None
    needed = required_version({node.op_type for node in file.nodes}, file.opsets.get("", 0))
    if not older(version, needed.version):
        return None
    return (
        f"its {needed.what} needs ONNX Runtime {needed.version} or later, found {version}; "
        "upgrade it, or export with --lowering gridsample --opset 17, which 1.20 runs"
    )


def reason_of(error: BaseException) -> str:
    """What an exception says behind kinds of errors and places in ONNX Runtime's source."""
    line = first_line(error)
    return re.sub(r"^.*\[ONNXRuntimeError\] : \d+ : \w+ : ", "", line) or line


def log_reason(text: str) -> str | None:
    """The reason in ONNX Runtime's log: what follows `with error:`, or its last error line."""
    errors = [line for line in text.splitlines() if "[E:onnxruntime" in line]
    if not errors:
        return None
    line = errors[-1].strip("\x1b[m")
    return line.rpartition("with error: ")[2].rpartition("] ")[2].strip()


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


def say(line: str) -> None:
    """Write a line to the real stderr, also from inside such a block."""
    target = _terminal
    if target is None:
        print(line, file=sys.stderr, flush=True)
    else:
        os.write(target, f"{line}\n".encode())
