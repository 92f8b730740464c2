"""HTTP requests that no server can hold for ever or lead astray.

As `urllib.request` makes them, with three differences: a connection on which next to nothing comes
is given up (a timeout alone lets a byte now and then through), redirects lead to http and https
only and never from an encrypted connection to a plain one, and a token, or a user's name and
password in the URL, go to its own host alone.
"""

from __future__ import annotations

import base64
import io
import time
import urllib.request
from http.client import HTTPConnection, HTTPMessage, HTTPResponse, HTTPSConnection
from socket import SocketIO, socket
from typing import IO, Any, cast
from urllib.parse import quote, unquote

from ..base.errors import FetchError
from ..base.text import shown_url, split_url

_LOGIN = "Authorization"
_LEAST_BYTES_PER_S = 10_000
"""What a server has to send on average over the time of a timeout."""


class Response(HTTPResponse):
    """A response whose bytes come faster than one now and then, with the redirects before it."""

    hops: tuple[HTTPMessage, ...] = ()
    """The headers of the redirects that led to it, in order."""

    def __init__(self, sock: socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        unbuffered = sock.makefile("rb", buffering=0)
        self.fp.close()
        self.fp = io.BufferedReader(_Watched(unbuffered, sock.gettimeout() or 60.0))

    def first_header(self, name: str) -> str | None:
        """A header of the first response on the way that has it."""
        values = (headers.get(name) for headers in (*self.hops, self.headers))
        return next((value for value in values if value is not None), None)


def open_url(request: urllib.request.Request, timeout_s: float) -> Response:
    """The response to a request, to be closed by the caller.

    Args:
        request: from `request_for`.
        timeout_s: for the connection, between two pieces, and for `TooSlowError`.

    Raises:
        FetchError: it redirects to where it must not.
        TooSlowError: next to nothing comes; the response raises it too when it is read.
        urllib.error.URLError, OSError, http.client.HTTPException, ValueError: as urllib has it.
    """
    redirects = _SafeRedirects()
    opener = urllib.request.build_opener(_Http, _Https, redirects)
    response = cast(Response, opener.open(request, timeout=timeout_s))
    response.hops = tuple(redirects.seen)
    return response


def request_for(url: str, token: str | None = None) -> urllib.request.Request:
    """A request for a URL.

    Args:
        url: http or https; a user's name and password in it go into a header for its own host.
        token: goes into such a header, too, where the URL names no user.

    Raises:
        ValueError: no http or https URL.
    """
    parts = split_url(url)
    safe = "%/:=&?~+!$,;'@()*[]"
    plain = parts._replace(
        netloc=parts.netloc.rpartition("@")[2].encode("idna").decode("ascii"),
        path=quote(parts.path, safe),
        query=quote(parts.query, safe),
        fragment="",
    )
    request = urllib.request.Request(plain.geturl(), headers={"User-Agent": "birefnet-ort"})
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = f"Basic {base64.b64encode(user.encode()).decode('ascii')}"
        request.add_unredirected_header(_LOGIN, login)
    elif token:
        request.add_unredirected_header(_LOGIN, f"Bearer {token}")
    return request


class TooSlowError(Exception):
    """A server that keeps the connection and sends next to nothing."""


class _Watched(io.RawIOBase):
    """The bytes of a socket, as long as they come faster than a byte now and then."""

    def __init__(self, raw: SocketIO, window_s: float) -> None:
        self._raw = raw
        self._window_s = window_s
        self._waited_s = 0.0
        self._received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        started = time.monotonic()
        count = self._raw.readinto(buffer) or 0
        self._waited_s += time.monotonic() - started
        self._received += count
        if self._waited_s > self._window_s:
            least = int(_LEAST_BYTES_PER_S * self._waited_s)
            if self._received < least:
                raise TooSlowError(
                    f"the server sent {self._received} bytes in {self._waited_s:.0f} s"
                )
            self._waited_s, self._received = 0.0, 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Connection(HTTPConnection):
    response_class = Response


class _SecureConnection(HTTPSConnection):
    response_class = Response


class _Http(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_Connection, request)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_SecureConnection, request)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https, and never from an encrypted connection to a plain one.

    A login goes along to the same scheme, host and port, as of a repository that was renamed.

    Raises:
        FetchError: another redirect.
    """

    def __init__(self) -> None:
        self.seen: list[HTTPMessage] = []
        """The headers of the redirects so far."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:
        try:
            scheme = split_url(newurl).scheme
        except ValueError:
            scheme = "none"
        if scheme == "none" or (req.type == "https" and scheme == "http"):
            fp.close()
            raise FetchError(
                f"{shown_url(req.full_url)}: the server redirects to {shown_url(newurl)}, "
                f"which is {'not encrypted' if scheme == 'http' else 'no http or https URL'}"
            )
        self.seen.append(headers)
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        login = req.get_header(_LOGIN)
        if following is not None and login and _origin(following) == _origin(req):
            following.add_unredirected_header(_LOGIN, login)
        return following


def _origin(request: urllib.request.Request) -> tuple[str, str | None, int | None]:
    parts = split_url(request.full_url)
    default = {"http": 80, "https": 443}[parts.scheme]
    return parts.scheme, parts.hostname, parts.port or default
