"""Download a file over http: resumed where it was interrupted, whole or not at all.

Bounded in size, in time and in tries, whatever the server does.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import urllib.error
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from ..base.errors import AccessError, FetchError, OfflineError
from ..base.files import exclusive, replacing
from ..base.names import file_name
from ..base.text import first_line, printable, shown_url
from ..cache import downloads
from .client import Response, TooSlowError, open_url, request_for

Progress = Callable[[int, int | None], None]
"""Called with the bytes that have come, and of how many (None: the server does not say)."""
Explain = Callable[[urllib.error.HTTPError], FetchError | None]
"""Called with a server's refusal; what it gives is raised in place of the general error."""

TIMEOUT_S = 30.0
MOST_BYTES = 8 << 30
"""Of one file; the largest checkpoint of a BiRefNet has 1 GB, with its optimizer 3 GB."""
_MOST_RESUMES = 20
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
    most_bytes: int = MOST_BYTES,
    token: str | None = None,
    explain: Explain | None = None,
    look: Callable[[Response], None] | None = None,
) -> Path:
    """Fetch a file into the cache; one that is there is not asked for again.

    What an interrupted download left is kept beside it under another name and is resumed, if the
    server still has the same file. Of several processes one fetches, and the others wait for it.

    Args:
        url: http or https; a user's name and password in it are sent to its host alone, and never
            printed or stored.
        anew: fetch it even if it is there.
        progress: called after every piece.
        timeout_s: for the server to answer, and between two pieces.
        most_bytes: a larger file is refused.
        token: a login that is sent to the URL's own host alone.
        explain: tells refusals of a server whose kind is known.
        look: called with each response before its bytes are taken; may raise.

    Raises:
        OfflineError: the network must not be used, or the server can't be reached.
        AccessError: the server wants a login.
        FetchError: no URL, no such file, a page in its place, an interruption, too large a file or
            too slow a server, a full disk.
    """
    shown = shown_url(url)
    try:
        name = file_name(request_for(url).selector.partition("?")[0])
    except ValueError as error:
        raise FetchError(f"{shown}: is no http or https URL") from error
    # A folder for each URL, so that files of the same name stay apart.
    target = downloads() / hashlib.sha256(shown.encode()).hexdigest()[:16] / name
    if os.path.isfile(target) and not anew:
        return target
    if offline():
        raise OfflineError(f"{shown}: is not in the cache, and HF_HUB_OFFLINE forbids to fetch it")
    part = _Part(target.with_name(f"{target.name}.part"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(target.with_name(".lock")):
            if anew or not os.path.isfile(target):  # or another process has brought it
                _Download(url, part, progress, timeout_s, most_bytes, token, explain, look).run()
                os.replace(part.file, target)
                part.forget()
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise FetchError(f"{shown}: can't be stored in {target.parent}: {reason}") from error
    return target


def read_small(
    url: str, most_bytes: int, *, token: str | None = None, explain: Explain | None = None
) -> bytes:
    """The body of a short answer, which is not stored.

    Args:
        url, token, explain: as `download` takes them.
        most_bytes: a longer one is refused.

    Raises:
        FetchError: as `download`.
    """
    with _explained(url, explain), open_url(request_for(url, token), TIMEOUT_S) as answer:
        content = answer.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise FetchError(f"{shown_url(url)}: answers with more than {most_bytes} bytes")
    return content


@contextmanager
def _explained(url: str, explain: Explain | None) -> Iterator[None]:
    """Raise what goes wrong between us and a server as one line."""
    shown = shown_url(url)
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        explained = explain(error) if explain else None
        raise explained or _refusal(shown, error.code) from error
    except urllib.error.URLError as error:
        reason = printable(error.reason)
        raise OfflineError(f"{shown}: the server can't be reached: {reason}") from error
    except (TimeoutError, ConnectionError) as error:
        raise OfflineError(f"{shown}: the server does not answer: {error}") from error
    except TooSlowError as error:
        raise FetchError(f"{shown}: {error}; the same command goes on from there") from error
    except (HTTPException, ValueError) as error:
        raise FetchError(f"{shown}: the server does not speak HTTP: {error!r}") from error


def _refusal(shown: str, status: int) -> FetchError:
    if status in (401, 403):
        return AccessError(f"{shown}: the server refuses access (HTTP {status})")
    if status in (404, 410):
        return FetchError(f"{shown}: the server has no such file (HTTP {status})")
    if status in range(300, 400):
        return FetchError(f"{shown}: the server redirects in a circle or to no URL (HTTP {status})")
    return FetchError(f"{shown}: the server failed (HTTP {status}); try again later")


class _Part:
    """The bytes of a file that have come so far, and a note of which version they belong to."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._note = file.with_name(f"{file.name}.json")

    @property
    def size(self) -> int:
        return self.file.stat().st_size if os.path.isfile(self.file) else 0

    @property
    def validator(self) -> str | None:
        """The server's word for this version of the file, if it is one that a range needs."""
        try:
            validator = json.loads(self._note.read_text(encoding="utf-8"))["validator"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        strong = isinstance(validator, str) and not validator.startswith("W/")
        return validator if strong else None

    def note_version(self, answer: Response, url: str) -> None:
        """Remember which version the bytes belong to, and for people where they come from."""
        validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        with replacing(self._note) as temporary:
            note = {"validator": validator, "url": url}
            temporary.write_text(json.dumps(note), encoding="utf-8")

    def forget(self) -> None:
        self._note.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Download:
    """One file on its way."""

    url: str
    part: _Part
    progress: Progress | None
    timeout_s: float
    most_bytes: int
    token: str | None
    explain: Explain | None
    look: Callable[[Response], None] | None

    def run(self) -> None:
        """Bring the whole file into `part`.

        Raises:
            FetchError: as `download`.
            OSError: it can't be stored.
        """
        for _ in range(_MOST_RESUMES):
            before = self.part.size
            if self._fetch_rest():
                break
            if self.part.size <= before:
                raise self._interrupted()
        else:
            raise self._interrupted()
        with self.part.file.open("rb") as stream:
            head = stream.read(256).lstrip().lower()
        if head.startswith((b"<!doctype", b"<html")):
            self.part.file.unlink()
            raise self._error("the server sent an HTML page in place of the file")

    def _error(self, problem: str) -> FetchError:
        return FetchError(f"{shown_url(self.url)}: {problem}")

    def _interrupted(self) -> FetchError:
        return self._error(
            f"the download was interrupted at {self.part.size} bytes; the same command goes on "
            "from there"
        )

    def _fetch_rest(self) -> bool:
        """Fetch what is missing; False where the connection ended before the file did."""
        request = request_for(self.url, self.token)
        if self.part.size and (validator := self.part.validator):
            request.add_header("Range", f"bytes={self.part.size}-")
            request.add_header("If-Range", validator)
        with _explained(self.url, self.explain):
            try:
                with open_url(request, self.timeout_s) as answer:
                    return self._store(answer)
            except urllib.error.HTTPError as error:
                if error.code != 416 or not request.has_header("Range"):
                    raise
                error.close()
                self.part.file.unlink(missing_ok=True)  # longer than the file: of another time
                return self._fetch_rest()

    def _store(self, answer: Response) -> bool:
        """Append what comes; False where the connection ended before the file did."""
        if self.look:
            self.look(answer)
        encoding = answer.headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":  # nothing else was asked for
            raise self._error(f"the server sends it encoded as {encoding[:20]!r}")
        size = self.part.size if answer.status == 206 else 0
        total = self._total(answer, size)
        if not size:
            self.part.note_version(answer, shown_url(self.url))
        with self.part.file.open("ab" if size else "wb") as stream:
            while total is None or size < total:
                try:
                    chunk = answer.read1(_CHUNK_BYTES)
                except (TimeoutError, ConnectionError, HTTPException):
                    return False
                if not chunk:
                    return total is None
                size += len(chunk)
                if size > self.most_bytes:
                    stream.truncate(0)  # nothing is gone on from here
                    raise self._too_large()
                stream.write(chunk)
                if self.progress:
                    self.progress(size, total)
        return True

    def _total(self, answer: Response, start: int) -> int | None:
        """Bytes of the whole file, if the server says it and there is room for them."""
        given = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
        if start and (given is None or int(given[1]) != start):
            raise self._error("the server sent another part of the file than was asked for")
        length = answer.headers.get("Content-Length")
        if length is None:
            return None
        if not re.fullmatch(r"[0-9]{1,18}", length.strip()):
            raise self._error(f"the server states a length of {length[:20]!r}")
        total = start + int(length)
        if total > self.most_bytes:
            raise self._too_large()
        folder = self.part.file.parent
        free = shutil.disk_usage(folder).free
        if total - start > free:
            raise self._error(
                f"the disk is full: {total - start} bytes are needed in {folder}, "
                f"{free} are free; set BIREFNET_CACHE to a directory on another disk"
            )
        return total

    def _too_large(self) -> FetchError:
        return self._error(f"is larger than the {self.most_bytes} bytes that a download may have")
