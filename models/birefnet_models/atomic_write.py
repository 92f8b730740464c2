"""Files that appear whole or not at all, without leftovers of runs that were killed.

    with replacing(path) as temporary:          a file that becomes `path` if the block succeeds
    with temporary_folder(parent) as folder:    an empty folder that is gone after the block
    remove_at_once(path)                        a file or folder that is gone for others at once
    sweep(parent)                               removes what killed runs left; all do it first

Temporary names are `.birefnet-MACHINE-PID-RANDOM` and the suffix of the file. What has such a name
is a leftover if its process has ended on this machine since, or if it was not written to for a day
(processes of another machine or container can't be seen). Nothing else is ever removed.
"""

import os
import re
import secrets
import shutil
import socket
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

_NAME = re.compile(r"\.birefnet-(?P<machine>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{8}(\.[^.]*)?")
_LONGEST_SUFFIX = 16
_DAY_S = 24 * 60 * 60
_in_use: set[str] = set()
"""Names that this process writes to now; earlier processes may have had its PID."""
_swept: set[Path] = set()
"""Folders that this process has swept: a batch writes many files into one."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file beside `path`, which becomes `path` if the block succeeds.

    If the block raises, the temporary file is removed and `path` stays as it was. The temporary
    file has the suffix of `path`, so that writers which look at it choose the same format.

    Raises:
        OSError: the temporary file can't take the place of `path`.
    """
    with _temporary(path.parent, path.suffix) as temporary:
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Yield a new, empty folder in `parent`, which is removed after the block with all it holds.

    Raises:
        OSError: it can't be made.
    """
    with _temporary(parent) as folder:
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def remove_at_once(path: Path) -> None:
    """Remove a file, or a folder with all it holds; nobody ever finds half of it.

    Raises:
        OSError: it is not there, or can't be moved away: on Windows because it is open somewhere.
    """
    with _temporary(path.parent) as doomed:
        os.rename(path, doomed)
        if doomed.is_dir() and not doomed.is_symlink():
            shutil.rmtree(doomed, ignore_errors=True)
        else:
            doomed.unlink(missing_ok=True)


def sweep(parent: Path) -> None:
    """Remove the temporary files and folders in `parent` that killed runs left.

    What can't be listed or removed stays, without an error.
    """
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            name = _NAME.fullmatch(entry.name)
            if name is None or entry.name in _in_use or not _is_leftover(name, entry):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with suppress(OSError):
                    os.unlink(entry.path)


@contextmanager
def _temporary(parent: Path, suffix: str = "") -> Iterator[Path]:
    """Yield a free temporary name in a folder that was swept; nothing is made."""
    if parent not in _swept:
        _swept.add(parent)
        sweep(parent)
    if len(os.fsencode(suffix)) > _LONGEST_SUFFIX:  # names have an end, of 255 bytes as a rule
        suffix = ""
    name = f".birefnet-{_machine()}-{os.getpid()}-{secrets.token_hex(4)}{suffix}"
    _in_use.add(name)
    try:
        yield parent / name
    finally:
        _in_use.discard(name)


def _is_leftover(name: re.Match[str], entry: "os.DirEntry[str]") -> bool:
    try:
        untouched_s = time.time() - entry.stat(follow_symlinks=False).st_mtime
    except OSError:  # removed by another process
        return False
    if name["machine"] == _machine() and not _is_running(int(name["pid"])):
        return True
    return untouched_s > _DAY_S


def _is_running(pid: int) -> bool:
    """Whether a process has this PID; on Windows, where asking would end it, always true."""
    if pid == os.getpid():
        return False  # what this process writes to is in use, and was left out before
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # of another user
        return True
    return True


@cache
def _machine() -> str:
    """Eight digits that differ between machines, and between containers on one."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # Linux alone has them
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return f"{zlib.crc32(''.join(parts).encode()):08x}"
