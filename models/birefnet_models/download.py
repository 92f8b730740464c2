"""Files over http: resumed where they broke off, whole or not at all.

Bounded in size, in time and in tries, whatever the server does. The HTTP library is the one that
huggingface_hub brings; it is imported when something is fetched.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from .base.errors import AccessError, FetchError, OfflineError
from .base.files import exclusive, replacing
from .base.names import file_name
from .base.text import first_line, shown_url, split_url
from .cache import downloads

Progress = Callable[[int, int | None], None]
"""Called with the bytes that have come, and of how many (None: the server does not say)."""
Explain = Callable[[int, str], FetchError | None]
"""Called with the status and the `X-Error-Code` of a server's refusal; what it gives is raised in
place of the general error."""

TIMEOUT_S = 30.0
MOST_FILE_BYTES = 8 << 30
"""Of one file; the largest checkpoint of a BiRefNet has 1 GB, with its optimizer 3 GB."""
_MOST_RESUMES = 20
_LEAST_BYTES_PER_S = 10_000
"""What a server has to send on average over the time of a timeout."""


def offline(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether `HF_HUB_OFFLINE` forbids the network, which holds for every download here."""
    return environment.get("HF_HUB_OFFLINE", "").lower() in {"1", "on", "yes", "true"}


@cache
def http_library() -> Any:
    """The HTTP library of the hub's client: httpx, or httpx2 from version 2.4 of the client on."""
    from huggingface_hub.errors import HfHubHTTPError

    base = next(cls for cls in HfHubHTTPError.__mro__ if cls.__name__ == "HTTPError")
    return sys.modules[base.__module__.partition(".")[0]]


def download(
    url: str,
    *,
    anew: bool = False,
    progress: Progress | None = None,
    timeout_s: float = TIMEOUT_S,
    most_bytes: int = MOST_FILE_BYTES,
    token: str | None = None,
    explain: Explain | None = None,
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
        explain: what refusals of a server mean whose kind is known.

    Raises:
        OfflineError: the network must not be used, or the server can't be reached.
        AccessError: the server wants a login.
        FetchError: not a URL, no such file, a page in its place, an interruption, too large a file
            or too slow a server, a full disk.
    """
    shown = shown_url(url)
    try:
        parts = split_url(url)
        str(parts.hostname).encode("idna")
    except ValueError as error:
        raise FetchError(f"{shown}: is not an http or https URL") from error
    # A folder for each URL, so that files of the same name stay apart.
    folder = downloads() / hashlib.sha256(shown.encode()).hexdigest()[:16]
    target = folder / file_name(parts.path)
    if os.path.isfile(target) and not anew:
        return target
    if offline():
        raise OfflineError(f"{shown}: is not in the cache, and HF_HUB_OFFLINE forbids to fetch it")
    part = _Part(target.with_name(f"{target.name}.part"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(target.with_name(".lock")):
            if anew or not os.path.isfile(target):  # or another process has brought it
                _Download(url, part, progress, timeout_s, most_bytes, token, explain).run()
                os.replace(part.file, target)
                part.forget()
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise FetchError(
            f"{shown}: can't be stored in {folder}: {reason}; set BIREFNET_CACHE to a directory "
            "with room that can be written"
        ) from error
    return target


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

    def note_version(self, answer: Any, url: str) -> None:
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

    def run(self) -> None:
        """Bring the whole file into `part`.

        Raises:
            FetchError: offline, refused, interrupted, too large or too slow, an HTML page.
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
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if self.part.size and (validator := self.part.validator):
            headers |= {"Range": f"bytes={self.part.size}-", "If-Range": validator}
        with _answer(self.url, headers, self.timeout_s) as answer:
            if answer.status_code == 416 and "Range" in headers:
                self.part.file.unlink(missing_ok=True)  # longer than the file: of another time
            elif answer.status_code not in (200, 206):
                raise self._refusal(answer)
            else:
                return self._store(answer)
        return self._fetch_rest()

    def _refusal(self, answer: Any) -> FetchError:
        status, code = answer.status_code, answer.headers.get("X-Error-Code", "")
        if self.explain and (explained := self.explain(status, code)):
            return explained
        if status in (401, 403):
            message = f"the server refuses access (HTTP {status})"
            return AccessError(f"{shown_url(self.url)}: {message}")
        if status in (404, 410):
            return self._error(f"the server has no such file (HTTP {status})")
        return self._error(f"the server failed (HTTP {status}); try again later")

    def _store(self, answer: Any) -> bool:
        """Append what comes; False where the connection ended before the file did."""
        encoding = answer.headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":  # nothing else was asked for
            raise self._error(f"the server sends it encoded as {encoding[:20]!r}")
        size = self.part.size if answer.status_code == 206 else 0
        total = self._total(answer, size)
        if not size:
            self.part.note_version(answer, shown_url(self.url))
        with self.part.file.open("ab" if size else "wb") as stream:
            try:
                for piece in _pieces(answer, self.timeout_s):
                    size += len(piece)
                    if size > self.most_bytes:
                        stream.truncate(0)  # nothing is gone on from here
                        raise self._too_large()
                    stream.write(piece)
                    if self.progress:
                        self.progress(size, total)
            except http_library().TransportError:
                return False
        return total is None or size >= total

    def _total(self, answer: Any, start: int) -> int | None:
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
        return self._error(f"is larger than the {self.most_bytes} bytes that it may have")


# One request. Three things that the library leaves open: a connection on which next to nothing
# comes is given up (a timeout alone lets a byte now and then through), a redirect leads to http and
# https only and never from an encrypted connection to a plain one, and errors are one line. A login
# goes to its own host alone, which is the library's way, too.


@contextmanager
def _answer(url: str, headers: Mapping[str, str], timeout_s: float) -> Iterator[Any]:
    """The answer to a GET, whose body is still to come; without an error for its status."""
    library, shown = http_library(), shown_url(url)
    ours = {"User-Agent": "birefnet-ort", "Accept-Encoding": "identity", **headers}
    client = library.Client(
        follow_redirects=True, timeout=timeout_s, event_hooks={"response": [_check_redirect]}
    )
    deadline = _Deadline(2 * timeout_s)
    try:
        with client:
            request = client.build_request(
                "GET", url, headers=ours, extensions={"trace": deadline.trace}
            )
            with deadline:
                answer = client.send(request, stream=True)
            with _closing(answer):
                yield answer
    except library.TooManyRedirects as error:
        raise FetchError(f"{shown}: the server redirects in a circle") from error
    except library.RemoteProtocolError as error:
        if deadline.passed:
            raise FetchError(
                f"{shown}: the server sent no whole answer in {2 * timeout_s:g} s; try again later"
            ) from error
        raise FetchError(f"{shown}: the server does not speak HTTP: {first_line(error)}") from error
    except library.TransportError as error:
        raise OfflineError(f"{shown}: the server can't be reached: {first_line(error)}") from error
    except (library.InvalidURL, UnicodeError) as error:
        raise FetchError(f"{shown}: is not an http or https URL") from error


@contextmanager
def _closing(answer: Any) -> Iterator[None]:
    try:
        yield
    finally:
        answer.close()


def _check_redirect(answer: Any) -> None:
    """Refuse a redirect that leads away from http, or from an encrypted connection."""
    if not answer.has_redirect_location:
        return
    here = str(answer.url)
    there = answer.headers["Location"]
    try:
        there = urljoin(here, there)
        scheme = split_url(there).scheme
    except ValueError:
        scheme = ""
    if not scheme or (here.startswith("https:") and scheme == "http"):
        reason = "is not encrypted" if scheme else "is not an http or https URL"
        raise FetchError(
            f"{shown_url(here)}: the server redirects to {shown_url(there)}, which {reason}"
        )


def _pieces(answer: Any, window_s: float) -> Iterator[bytes]:
    """The bytes of an answer, as long as they come faster than one now and then.

    Raises:
        FetchError: they don't.
    """
    pieces, waited_s, received = answer.iter_raw(), 0.0, 0
    while True:
        started = time.monotonic()
        piece = next(pieces, None)
        if piece is None:
            return
        waited_s += time.monotonic() - started
        received += len(piece)
        if waited_s > window_s:
            if received < int(_LEAST_BYTES_PER_S * waited_s):
                raise FetchError(
                    f"{shown_url(str(answer.url))}: the server sent {received} bytes in "
                    f"{waited_s:.0f} s; the same command goes on from there"
                )
            waited_s, received = 0.0, 0
        yield piece


class _Deadline:
    """Ends the connections of a request that has not been answered in time.

    The library's own timeout is one for each read, so a header that comes byte by byte would hold
    the caller for hours. Its sockets are known from the events that it reports.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._sockets: list[Any] = []
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Called by the library with what it does."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._sockets.append(info["return_value"].get_extra_info("socket"))

    def _end(self) -> None:
        self.passed = True
        for connection in self._sockets:
            with suppress(OSError):  # closed, or replaced by its encrypted form
                connection.shutdown(socket.SHUT_RDWR)
