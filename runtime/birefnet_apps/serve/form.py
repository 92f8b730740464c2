"""A request's body: read within bounds of bytes and time, and taken apart into fields.

Everything stays in memory: what Starlette's forms do with files beyond 1 MB, put them on disk, is
not wanted here. Taking apart is meant for a thread of its own, since a hostile body may take long.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

from birefnet_models.base.text import format_bytes, printable

from .errors import HungUp, Refusal, bad_parameter
from .limits import UploadBudget

Receive: TypeAlias = Callable[[], Any]
Fields: TypeAlias = dict[str, bytes]
"""By name; text is UTF-8."""

MOST_FIELDS = 100
MOST_NAME_BYTES = 200
MOST_BRACKETS = 100
"""Brackets and braces of a JSON body: more are nothing that is understood, and take memory."""
DROPPED_BODIES = 4
DROPPING_S = 5.0
"""A body that is too large is read on and dropped, so many times the limit and so long, so that
the client gets to reading the answer."""
_PIECE = 1 << 16


async def read_body(
    receive: Receive, headers: Mapping[str, str], most: int, timeout_s: float, held: UploadBudget
) -> bytes:
    """Read a body whole.

    Its bytes count as held; the caller gives them back.

    Args:
        receive: of ASGI.
        headers: by name in lower case.
        most: bytes.
        timeout_s: for all of it.
        held: counts its bytes.

    Raises:
        Refusal: it is too large (by its Content-Length before anything is read), too slow, or too
            much beside what is held.
        HungUp: the client left.
    """
    length = headers.get("content-length", "")
    pieces: list[bytes] = []
    count = 0
    try:
        async with asyncio.timeout(timeout_s):
            if length.isdecimal() and int(length) > most:
                await drop_body(receive, most)
                raise _too_large(most)
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise HungUp
                piece: bytes = message.get("body", b"")
                more = message.get("more_body", False)
                if count + len(piece) > most:
                    pieces.clear()
                    if more:
                        await drop_body(receive, most)
                    raise _too_large(most)
                held.add(len(piece))
                count += len(piece)
                pieces.append(piece)
                if not more:
                    return b"".join(pieces)
    except TimeoutError:
        _let_go(pieces, count, held)
        raise Refusal(
            408, "body_timeout", f"the body didn't arrive within {timeout_s:g} s", close=True
        ) from None
    except BaseException:
        _let_go(pieces, count, held)
        raise


def _let_go(pieces: list[bytes], count: int, held: UploadBudget) -> None:
    """Give up what came of a body. The list itself: an error keeps the frame that it is in."""
    pieces.clear()
    held.bytes -= count


async def drop_body(receive: Receive, most: int) -> None:
    """Read a body on for a while, without keeping anything: an answer that comes while the client
    still sends may never be read.

    Raises:
        HungUp: the client left.
    """
    end, dropped = time.monotonic() + DROPPING_S, 0
    while dropped < DROPPED_BODIES * most and time.monotonic() < end:
        try:
            message = await asyncio.wait_for(receive(), max(0.01, end - time.monotonic()))
        except TimeoutError:
            return
        if message["type"] == "http.disconnect":
            raise HungUp
        dropped += len(message.get("body", b""))
        if not message.get("more_body", False):
            return


def _too_large(most: int) -> Refusal:
    title = f"the body has more than {format_bytes(most)}, the most that this server takes"
    return Refusal(413, "file_too_large", title, close=True)


def joined_fields(first: Fields, second: Fields) -> Fields:
    """The fields of a query and of a body.

    Raises:
        Refusal: one is in both; names it.
    """
    for name in first:
        if name in second:
            raise bad_parameter(printable(name), "given twice")
    return {**first, **second}


def parse_query(query: bytes) -> Fields:
    """Take an address's query apart.

    Raises:
        Refusal: as of a body.
    """
    return _urlencoded(query)


def parse_fields(content_type: str, body: bytes) -> Fields:
    """Take a body apart: multipart, urlencoded or JSON.

    Raises:
        Refusal: it is none of them, or damaged.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _multipart(content_type, body)
    if kind == "application/x-www-form-urlencoded":
        return _urlencoded(body)
    if kind == "application/json":
        return _json(body)
    raise Refusal(
        415,
        "invalid_content_type",
        "give multipart/form-data, application/x-www-form-urlencoded or application/json",
    )


def _add(fields: Fields, name: bytes, value: bytes) -> None:
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed("a parameter's name is not UTF-8") from None
    if len(name) > MOST_NAME_BYTES:
        raise _malformed("a parameter's name is too long")
    if text in fields:
        raise bad_parameter(printable(text), "given twice")
    if len(fields) == MOST_FIELDS:
        raise _malformed(f"more than {MOST_FIELDS} parameters")
    fields[text] = value


def _malformed(what: str) -> Refusal:
    return Refusal(400, "invalid_body", f"the body can't be read: {what}")


class _Parts:
    """Collects the parts of a multipart body, as `MultipartParser` calls."""

    def __init__(self) -> None:
        self.fields: Fields = {}
        self.ended = False
        self._header = self._value = b""
        self._disposition = b""
        self._pieces: list[bytes] = []

    def callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header_end,
            "on_part_data": self._on_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def _begin(self) -> None:
        if len(self.fields) == MOST_FIELDS:
            raise _malformed(f"more than {MOST_FIELDS} parts")
        self._header = self._value = self._disposition = b""
        self._pieces = []

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def _on_part_end(self) -> None:
        from python_multipart.multipart import parse_options_header

        name = parse_options_header(self._disposition)[1].get(b"name")
        if not name:
            raise _malformed("a part has no name")
        _add(self.fields, name, b"".join(self._pieces))
        self._pieces = []

    def _on_end(self) -> None:
        self.ended = True


def _multipart(content_type: str, body: bytes) -> Fields:
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise _malformed("the Content-Type names no boundary")
    parts = _Parts()
    try:
        parser = MultipartParser(boundary, parts.callbacks())  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise _malformed("no valid multipart") from None
    if not parts.ended:
        raise _malformed("the multipart ends too early")
    return parts.fields


def _urlencoded(body: bytes) -> Fields:
    if body.count(b"&") >= MOST_FIELDS:
        raise _malformed(f"more than {MOST_FIELDS} parameters")
    fields: Fields = {}
    for pair in body.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name:
            _add(fields, _unquoted(name), _unquoted(value))
    return fields


def _unquoted(text: bytes) -> bytes:
    """Undo percent-encoding piece by piece: at once it takes a small object for each `%`."""
    text = text.replace(b"+", b" ")
    if b"%" not in text:
        return text
    result = bytearray()
    start = 0
    while start < len(text):
        end = start + _PIECE
        for back in (1, 2):  # an escape stays whole
            if text[end - back : end - back + 1] == b"%":
                end -= back
                break
        result += unquote_to_bytes(text[start:end])
        start = end
    return bytes(result)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it was written; a dictionary would keep the last of two equal names."""


def _json(body: bytes) -> Fields:
    if body.count(b"[") + body.count(b"{") > MOST_BRACKETS or body.count(b",") > 2 * MOST_FIELDS:
        raise _malformed("no flat JSON object of few parameters")
    try:
        values = json.loads(body, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        raise _malformed("no valid JSON") from None
    if not isinstance(values, _Pairs):
        raise _malformed("the JSON is not an object")
    fields: Fields = {}
    for name, value in values:
        if value is None:
            value = ""
        if isinstance(value, bool):
            value = "true" if value else "false"
        if not isinstance(value, str | int | float):
            raise bad_parameter(printable(name)[:MOST_NAME_BYTES], "give text, a number or a truth")
        try:
            _add(fields, name.encode("utf-8"), str(value).encode("utf-8"))
        except UnicodeEncodeError:
            raise _malformed("a text holds half of a character") from None
    return fields


def prefers_json(headers: Sequence[str]) -> bool:
    """Whether JSON is asked for before pictures (RFC 9110, 12.5.1).

    Args:
        headers: the `Accept` headers. Of what axios sends, `application/json, text/plain, */*`,
            all is equally welcome, so a picture is; without any, too.
    """
    qualities = dict(_range(part) for header in headers for part in header.split(",") if part)
    json = qualities.get("application/json", qualities.get("application/*", 0.0))
    pictures = [
        quality
        for kind, quality in qualities.items()
        if kind.startswith("image/") or kind in {"*/*", "application/zip"}
    ]
    return json > max(pictures, default=0.0)


def _range(text: str) -> tuple[str, float]:
    """A media range and its quality, 0 to 1; what isn't a number is 0."""
    kind, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return kind, min(1.0, max(0.0, float(value)))
            except ValueError:
                return kind, 0.0
    return kind, 1.0
