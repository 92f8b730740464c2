"""HTTP requests that no server can hold for ever or lead astray.

As `urllib.request` makes them, with three differences: a connection on which next to nothing comes
is given up (a timeout alone lets a byte now and then through), redirects lead to http and https
only and never from an encrypted connection to a plain one, and a user's name and password in the
URL go to its own host alone.
"""

from __future__ import annotations

import base64
import io
import time
import urllib.request
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from socket import SocketIO, socket
from typing import IO, Any
from urllib.parse import quote, unquote

from .errors import FetchError
from .text import shown_url, split_url

_LEAST_BYTES_PER_S = 1000
"""What a server has to send on average over the time of a timeout."""


def open_url(request: urllib.request.Request, timeout_s: float) -> HTTPResponse:
    """The response to a request, to be closed by the caller.

    Args:
        request: from `request_for`.
        timeout_s: for the connection, between two pieces, and for `TooSlowError`.

    Raises:
        FetchError: it redirects to where it must not.
        TooSlowError: next to nothing comes; the response raises it too when it is read.
        urllib.error.URLError, OSError, http.client.HTTPException, ValueError: as urllib has it.
    """
    opener = urllib.request.build_opener(_Http, _Https, _SafeRedirects)
    response: HTTPResponse = opener.open(request, timeout=timeout_s)
    return response


def request_for(url: str) -> urllib.request.Request:
    """A request for a URL, whose user and password go into a header for its own host.

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
        request.add_unredirected_header(
            "Authorization", f"Basic {base64.b64encode(user.encode()).decode('ascii')}"
        )
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


class _Response(HTTPResponse):
    def __init__(self, sock: socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        unbuffered = sock.makefile("rb", buffering=0)
        self.fp.close()
        self.fp = io.BufferedReader(_Watched(unbuffered, sock.gettimeout() or 60.0))


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Http(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_Connection, request)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_SecureConnection, request)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https, and never from an encrypted connection to a plain one.

    Raises:
        FetchError: another redirect.
    """

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
        return super().redirect_request(req, fp, code, msg, headers, newurl)
