"""Files that appear whole or not at all, without leftovers of runs that were killed.

    with replacing(path) as temporary:          a file that becomes `path` if the block succeeds
    with temporary_folder(parent) as folder:    an empty folder that is gone after the block
    with made_folder(path):                     a folder that is gone again if the block fails
    remove_at_once(path)                        a file or folder that is gone for others at once
    sweep(parent)                               removes what killed runs left; all do it first
    stand_in(head_of(path))                     what is there instead of a file that wasn't fetched

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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from .errors import CacheError

_NAME = re.compile(r"\.birefnet-(?P<machine>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{8}(\.[^.]*)?")
_LONGEST_SUFFIX = 16
_DAY_S = 24 * 60 * 60
_in_use: set[str] = set()
"""Names that this process writes to now; earlier processes may have had its PID."""
_swept: set[Path] = set()
"""Folders that this process has swept: a batch writes many files into one."""


HEAD_BYTES = 64
"""Of a file, by which `stand_in` tells it."""


def head_of(file: Path) -> bytes:
    """A file's first bytes."""
    with file.open("rb") as stream:
        return stream.read(HEAD_BYTES)


def stand_in(head: bytes) -> str:
    """What stands in a file's place, by its first bytes, where it wasn't fetched; empty if none."""
    if not head:
        return "is empty"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "is an HTML page, perhaps a failed download"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer; fetch the file itself with `git lfs pull`"
    return ""


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


@contextmanager
def made_folder(path: Path) -> Iterator[None]:
    """Make a folder with those above it; where the block raises, the new ones go, if empty.

    Raises:
        OSError: it can't be made.
    """
    new = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in new:
            with suppress(OSError):  # somebody else's files are in it
                folder.rmdir()
        raise


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


# One process at a time: a lock that is held on a file and ends with its process.
#
#     with exclusive(path):        others that ask for the same path wait until the block ends
#
# The file is `path` itself, made for the lock and removed after it.


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


def cache_root(environment: Mapping[str, str] = os.environ) -> Path:
    """`BIREFNET_CACHE`, or `birefnet` in the operating system's directory for caches.

    Raises:
        CacheError: that depends on the user's home directory, and none is known.
    """
    try:
        if chosen := environment.get("BIREFNET_CACHE"):
            return Path(chosen).expanduser()
        if sys.platform == "win32":
            local = environment.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
            return Path(local) / "birefnet" / "Cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "birefnet"
        base = Path(environment.get("XDG_CACHE_HOME", ""))
        if not base.is_absolute():  # it then counts for nothing, says the XDG specification
            base = Path.home() / ".cache"
        return base / "birefnet"
    except RuntimeError as error:  # no HOME, and a user that the system does not know
        raise CacheError(
            "no home directory is known for the cache of models; set BIREFNET_CACHE to a directory"
        ) from error
