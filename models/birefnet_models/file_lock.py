"""One process at a time: a lock that is held on a file and ends with its process.

    with exclusive(path):        others that ask for the same path wait until the block ends

The file is `path` itself, made for the lock and removed after it.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PAUSE_S = 0.1
"""Between two tries on Windows, whose own waiting gives up after ten."""


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock of a path; threads and processes that ask for it meanwhile wait.

    A file system without locks (some network drives) lets everybody through.

    Raises:
        OSError: the file can't be made; its folder has to exist.
    """
    descriptor = _acquired(path)
    try:
        yield
    finally:
        with suppress(OSError):  # on Windows it can't be removed while others wait for it
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquired(path: Path) -> int:
    """A descriptor of the file at `path`, locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _wait(descriptor)
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the one before has removed it


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the locked file is still the one that others find under this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _wait(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        while True:
            with suppress(OSError):
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
                return
            time.sleep(_PAUSE_S)
    else:
        import fcntl  # not on Windows, where this module is imported, too

        with suppress(OSError):  # no locks on this file system
            fcntl.flock(descriptor, fcntl.LOCK_EX)
