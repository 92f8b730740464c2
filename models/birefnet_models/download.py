"""Download a file over http: resumed where it was interrupted, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .atomic_write import replacing
from .cache import downloads
from .errors import AccessError, FetchError, OfflineError

Progress = Callable[[int, int | None], None]
"""Called with the bytes that have come, and of how many (None: the server does not say)."""

TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 20


def offline(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether `HF_HUB_OFFLINE` forbids the network, which holds for every download here."""
    return environment.get("HF_HUB_OFFLINE", "").lower() in {"1", "on", "yes", "true"}


def download(
    url: str,
    *,
    anew: bool = False,
    progress: Progress | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Path:
    """Fetch a file into the cache; one that is there is not asked for again.

    What an interrupted download left is kept beside it under another name and is resumed, if the
    server still has the same file.

    Args:
        url: http or https.
        anew: fetch it even if it is there.
        progress: called after every piece.
        timeout_s: for the server to answer, and between two pieces.

    Raises:
        OfflineError: the network must not be used, or the server can't be reached.
        AccessError: the server wants a login.
        FetchError: no such file, a page in its place, an interruption, a full disk.
    """
    name = Path(unquote(urlsplit(url).path)).name or "file"
    # A folder for each URL, so that files of the same name stay apart.
    target = downloads() / hashlib.sha256(url.encode()).hexdigest()[:16] / name
    if target.is_file() and not anew:
        return target
    if offline():
        raise OfflineError(f"{url}: is not in the cache, and HF_HUB_OFFLINE forbids to fetch it")
    part = _Part(target.with_name(f"{target.name}.part"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        whole = False
        while not whole:
            before = part.size
            whole = _fetch(url, part, progress, timeout_s)
            if not whole and part.size <= before:
                raise FetchError(
                    f"{url}: the download was interrupted at {before} bytes; "
                    "the same command goes on from there"
                )
        _refuse_pages(url, part.file)
        os.replace(part.file, target)
        part.forget()
    except OSError as error:
        raise FetchError(f"{url}: can't be stored in {target.parent}: {error.strerror}") from error
    return target


class _Part:
    """The bytes of a file that have come so far, and a note of which version they belong to."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._note = file.with_name(f"{file.name}.json")

    @property
    def size(self) -> int:
        return self.file.stat().st_size if self.file.is_file() else 0

    @property
    def validator(self) -> str | None:
        """The server's word for this version of the file, if it is one that a range needs."""
        try:
            validator = json.loads(self._note.read_text(encoding="utf-8"))["validator"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        strong = isinstance(validator, str) and not validator.startswith("W/")
        return validator if strong else None

    def note_version(self, answer: HTTPResponse) -> None:
        validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        with replacing(self._note) as temporary:
            temporary.write_text(json.dumps({"validator": validator}), encoding="utf-8")

    def forget(self) -> None:
        self._note.unlink(missing_ok=True)


def _fetch(url: str, part: _Part, progress: Progress | None, timeout_s: float) -> bool:
    """Fetch what is missing of `part`; False where the connection ended before the file did."""
    request = urllib.request.Request(url, headers={"User-Agent": "birefnet-ort"})
    if part.size and (validator := part.validator):
        request.add_header("Range", f"bytes={part.size}-")
        request.add_header("If-Range", validator)
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            start = part.size if answer.status == 206 else 0
            length = answer.headers.get("Content-Length", "")
            total = start + int(length) if length.isdecimal() else None
            _require_space(url, part.file.parent, 0 if total is None else total - start)
            if not start:
                part.note_version(answer)
            return _store(answer, part.file, start, total, progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # what is here is longer than the file: of another time
            part.file.unlink(missing_ok=True)
            return _fetch(url, part, progress, timeout_s)
        raise _refusal(url, error.code) from error
    except urllib.error.URLError as error:
        raise OfflineError(f"{url}: the server can't be reached: {error.reason}") from error
    except (TimeoutError, ConnectionError) as error:
        raise OfflineError(f"{url}: the server does not answer: {error}") from error
    except HTTPException as error:
        raise FetchError(f"{url}: the server does not speak HTTP: {error!r}") from error


def _store(
    answer: HTTPResponse, file: Path, start: int, total: int | None, progress: Progress | None
) -> bool:
    size = start
    with file.open("ab" if start else "wb") as stream:
        while True:
            try:
                chunk = answer.read(_CHUNK_BYTES)
            except (TimeoutError, ConnectionError, HTTPException):
                return False
            if not chunk:
                return total is None or size >= total
            stream.write(chunk)
            size += len(chunk)
            if progress:
                progress(size, total)


def _require_space(url: str, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise FetchError(
            f"{url}: the disk is full: {needed} bytes are needed in {folder}, "
            f"{free} are free; set BIREFNET_CACHE to a directory on another disk"
        )


def _refusal(url: str, status: int) -> FetchError:
    if status in (401, 403):
        return AccessError(f"{url}: the server refuses access (HTTP {status})")
    if status in (404, 410):
        return FetchError(f"{url}: the server has no such file (HTTP {status})")
    return FetchError(f"{url}: the server failed (HTTP {status}); try again later")


def _refuse_pages(url: str, file: Path) -> None:
    with file.open("rb") as stream:
        head = stream.read(256).lstrip().lower()
    if head.startswith((b"<!doctype", b"<html")):
        file.unlink()
        raise FetchError(f"{url}: the server sent an HTML page in place of the file")
