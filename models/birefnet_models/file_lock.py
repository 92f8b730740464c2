"""One process at a time: a lock that the system releases when its holder ends, however it ends."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made if missing and stays; wait for who holds it.

    Raises:
        OSError: the file can't be made.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "ab") as stream:
        if sys.platform == "win32":
            import msvcrt

            while True:
                try:
                    msvcrt.locking(stream.fileno(), msvcrt.LK_LOCK, 1)
                    break
                except OSError:  # after ten seconds
                    time.sleep(1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
