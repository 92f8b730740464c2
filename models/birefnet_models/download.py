"""A plain file from a plain server: resumed where it was interrupted, whole or not at all."""

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
"""Told how many bytes are here, and of how many (None: the server does not say)."""

TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 20
_HTML = (b"<!doctype", b"<html")
_YES = frozenset({"1", "on", "yes", "true"})


def offline(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether `HF_HUB_OFFLINE` forbids the network, which holds for every download here."""
    return environment.get("HF_HUB_OFFLINE", "").lower() in _YES


def download(
    url: str,
    *,
    anew: bool = False,
    progress: Progress | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Path:
    """Fetch a file into the cache; one that is there is not asked for again.

    What an interrupted download left is kept beside it under another name and is gone on from, if
    the server still has the same file.

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
    target = _target(url)
    if target.is_file() and not anew:
        return target
    if offline():
        raise OfflineError(f"{url}: is not in the cache, and HF_HUB_OFFLINE forbids to fetch it")
    part = target.with_name(f"{target.name}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        whole = False
        while not whole:
            before = _size(part)
            whole = _fetch(url, part, progress, timeout_s)
            if not whole and _size(part) <= before:
                raise FetchError(
                    f"{url}: the download was interrupted at {before} bytes; "
                    "the same command goes on from there"
                )
        _refuse_pages(url, part)
        os.replace(part, target)
    except OSError as error:
        raise FetchError(f"{url}: can't be stored in {part.parent}: {error.strerror}") from error
    _note(part).unlink(missing_ok=True)
    return target


def _target(url: str) -> Path:
    """One folder a URL, so that files of the same name keep apart."""
    name = Path(unquote(urlsplit(url).path)).name or "file"
    return downloads() / hashlib.sha256(url.encode()).hexdigest()[:16] / name


def _fetch(url: str, part: Path, progress: Progress | None, timeout_s: float) -> bool:
    """Fetch what is missing of `part`; False where the connection ended before the file did."""
    request = urllib.request.Request(url, headers={"User-Agent": "birefnet-ort"})
    have, validator = _size(part), _validator(part)
    if have and validator:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", validator)
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            resumed = answer.status == 206
            start = have if resumed else 0
            total = _total(answer, start)
            _make_room(url, part, total, start)
            if not resumed:
                _remember(part, answer)
            return _store(answer, part, start, total, progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # what is here is longer than the file: of another time
            part.unlink(missing_ok=True)
            return _fetch(url, part, progress, timeout_s)
        raise _refusal(url, error.code) from error
    except urllib.error.URLError as error:
        raise OfflineError(f"{url}: the server can't be reached: {error.reason}") from error
    except (TimeoutError, ConnectionError) as error:
        raise OfflineError(f"{url}: the server does not answer: {error}") from error
    except HTTPException as error:
        raise FetchError(f"{url}: the server does not speak HTTP: {error!r}") from error


def _store(
    answer: HTTPResponse, part: Path, start: int, total: int | None, progress: Progress | None
) -> bool:
    have = start
    with part.open("ab" if start else "wb") as stream:
        while True:
            try:
                chunk = answer.read(_CHUNK_BYTES)
            except (TimeoutError, ConnectionError, HTTPException):
                return False
            if not chunk:
                return total is None or have >= total
            stream.write(chunk)
            have += len(chunk)
            if progress:
                progress(have, total)


def _total(answer: HTTPResponse, start: int) -> int | None:
    length = answer.headers.get("Content-Length", "")
    return start + int(length) if length.isdecimal() else None


def _make_room(url: str, part: Path, total: int | None, start: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - start > free:
        raise FetchError(
            f"{url}: the disk is full: {total - start} bytes are needed in {part.parent}, "
            f"{free} are free; set BIREFNET_CACHE to a directory on another disk"
        )


def _refusal(url: str, status: int) -> FetchError:
    if status in (401, 403):
        return AccessError(f"{url}: the server refuses access (HTTP {status})")
    if status in (404, 410):
        return FetchError(f"{url}: the server has no such file (HTTP {status})")
    return FetchError(f"{url}: the server failed (HTTP {status}); try again later")


def _refuse_pages(url: str, part: Path) -> None:
    with part.open("rb") as stream:
        head = stream.read(256).lstrip().lower()
    if head.startswith(_HTML):
        part.unlink()
        raise FetchError(f"{url}: the server sent an HTML page in place of the file")


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _remember(part: Path, answer: HTTPResponse) -> None:
    """Note which version of the file the part belongs to."""
    validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
    with replacing(_note(part)) as unnamed:
        unnamed.write_text(json.dumps({"validator": validator}), encoding="utf-8")


def _validator(part: Path) -> str | None:
    try:
        validator = json.loads(_note(part).read_text(encoding="utf-8"))["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    strong = isinstance(validator, str) and not validator.startswith("W/")
    return validator if strong else None


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0
