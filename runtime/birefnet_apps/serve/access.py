"""What holds for every request: the key, headers for browsers, the form of errors, log, metrics."""

import asyncio
import hmac
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import gmtime, perf_counter, strftime
from typing import Any
from uuid import uuid4

from birefnet_models.base.text import printable
from birefnet_runtime.errors import ImageError, ModelError, OutputError
from birefnet_runtime.pipeline import bare
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import BUSY, HUNG_UP, HungUp, Refusal, too_busy
from .form import drop_body
from .metrics import Metrics
from .page import POLICY_WITHOUT_PAGE
from .settings import Settings

log = logging.getLogger("birefnet.serve")
OPEN_PATHS = frozenset({"/", "/health", "/ready", "/v1/info"})
"""What is answered without a key."""
MOST_PATH = 200
REQUEST_ID = "X-Request-ID"
"""Of a request, in its log line and its answer: the caller's own, or one that is made."""
_SANE_ID = re.compile(r"[A-Za-z0-9._~+/=:@-]{1,128}")


@dataclass(slots=True)
class Record:
    """What is logged of a request: nothing of what was sent but its size."""

    method: str
    path: str
    client: str
    request_id: str
    started: float = field(default_factory=perf_counter)
    status: int = 0
    code: str | None = None
    pixels: int | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As JSON logs have it."""
        facts: dict[str, Any] = {
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "seconds": round(perf_counter() - self.started, 4),
            "client": self.client,
            "request_id": self.request_id,
            "code": self.code,
            "pixels": self.pixels,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
        }
        stages = {f"{stage}_s": round(took, 4) for stage, took in self.seconds.items()}
        return {name: value for name, value in facts.items() if value is not None} | stages

    def as_line(self) -> str:
        """As people read it."""
        facts = self.as_dict()
        head = [str(facts.pop(name)) for name in ("client", "method", "path", "status")]
        return " ".join([*head, *(f"{name}={value}" for name, value in facts.items())])


class Access:
    """Stands before the app: lets requests in, and answers for those that fail.

    Args:
        app: what answers the others.
        settings: the server's bounds.
        metrics: counts each request.
        paths: those that are counted by name.
        keys: says which keys open.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        metrics: Metrics,
        paths: frozenset[str],
        keys: Callable[[], tuple[bytes, ...]],
    ) -> None:
        self._keys = keys
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        path = printable(scope["path"])[:MOST_PATH]
        if scope["path"].endswith("/"):
            scope = {**scope, "path": scope["path"][:-1] or "/"}
        counted = scope["path"] if scope["path"] in self._paths else "other"
        peer = scope["client"][0] if scope.get("client") else None
        client = self._settings.proxies.client(peer, headers.getlist("x-forwarded-for"))
        record = Record(printable(scope["method"]), path, client, _id_of(headers))
        scope["state"]["record"] = record
        # Whoever reads the body by the other header sees another request in it (RFC 9112, 6.1).
        ends = "transfer-encoding" in headers and "content-length" in headers
        try:
            await self._answer(scope, receive, _watched(send, record, ends), record)
        finally:
            if record.status == HUNG_UP:
                connection = scope["state"]["connection"]
                left = connection.unsent() if connection.left is None else connection.left
                record.bytes_out = max(0, record.bytes_out - left)
            self._metrics.count(counted, record.status)
            log.info(record.as_line(), extra={"record": record})

    async def _answer(self, scope: Scope, receive: Receive, send: Send, record: Record) -> None:
        refusal = await self._refused(scope, receive, send, record)
        # The error itself is gone by now, and with it the frames that have the picture.
        if refusal is None:
            return
        record.code = refusal.code
        if refusal.code in BUSY:
            refusal.status = self._settings.busy_status
        if record.status:  # too late to say so
            scope["state"]["connection"].abort()
            return
        rembg = scope["path"].startswith("/api/")
        body = refusal.as_rembg() if rembg else refusal.as_removebg()
        await JSONResponse(body, refusal.status, refusal.headers())(scope, receive, send)

    async def _refused(
        self, scope: Scope, receive: Receive, send: Send, record: Record
    ) -> Refusal | None:
        """Have a request answered; why it isn't, None where it is or nobody is left to be told."""
        try:
            if scope["state"]["spare"] and scope["path"] not in OPEN_PATHS:
                raise too_busy("too many connections at once")
            if scope["path"] not in OPEN_PATHS and not self._opens(Headers(scope=scope)):
                await drop_body(receive, self._settings.max_upload_bytes)
                return Refusal(403, "auth_failed", "the X-Api-Key header holds no valid key")
            await self._app(scope, receive, send)
        except HungUp:
            record.status = HUNG_UP
        except asyncio.CancelledError:  # the server ends, and has waited long enough
            record.status = HUNG_UP
            scope["state"]["connection"].abort()
            await asyncio.sleep(0)  # its end is noticed
        except Refusal as refusal:
            return bare(refusal)
        except (ImageError, OutputError) as error:
            return Refusal(400, "invalid_image", str(error))
        except MemoryError:
            return Refusal(503, "out_of_memory", "not enough memory for it now", retry_after_s=5)
        except ModelError as error:
            log.error("the model failed: %s", error)
            return Refusal(500, "model_failed", "the model failed on this picture")
        except Exception:
            log.exception("an error that nobody expected, in answering %s", record.path)
            return Refusal(500, "internal_error", "something went wrong here", close=True)
        return None

    def _opens(self, headers: Headers) -> bool:
        """Whether a request has a key, compared in a time that doesn't tell how much was right."""
        keys = self._keys()
        if not keys:
            return True
        given = headers.get("x-api-key")
        if given is None:
            kind, _, token = headers.get("authorization", "").partition(" ")
            given = token.strip() if kind.lower() == "bearer" else ""
        presented = given.encode("utf-8", "surrogateescape")
        return sum(hmac.compare_digest(presented, key) for key in keys) > 0


def _id_of(headers: Headers) -> str:
    """The caller's name for its request, if it can stand in a log; else a new one."""
    given = headers.get(REQUEST_ID, "")
    return given if _SANE_ID.fullmatch(given) else uuid4().hex


def _watched(send: Send, record: Record, ends: bool) -> Send:
    """Note status and size of an answer, and add what each answer says to browsers; where it
    `ends` the connection, that, too."""

    async def watch(message: Message) -> None:
        if message["type"] == "http.response.start":
            record.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers.setdefault("Content-Security-Policy", POLICY_WITHOUT_PAGE)
            headers.setdefault("X-Content-Type-Options", "nosniff")
            headers.setdefault("Referrer-Policy", "no-referrer")
            headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
            headers[REQUEST_ID] = record.request_id
            if ends:
                headers["Connection"] = "close"
        elif message["type"] == "http.response.body":
            record.bytes_out += len(message.get("body", b""))
        await send(message)

    return watch


class _JsonLines(logging.Formatter):
    """A JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = strftime("%Y-%m-%dT%H:%M:%S", gmtime(record.created))
        facts: dict[str, Any] = {
            "time": f"{stamp}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
        }
        request = getattr(record, "record", None)
        if isinstance(request, Record):
            return json.dumps(facts | {"event": "request"} | request.as_dict())
        facts |= {"event": "message", "message": record.getMessage()}
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        return json.dumps(facts)


class _Lines(logging.Formatter):
    """`2026-01-31T12:00:00 …`, in one line but for tracebacks."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        stamp = strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(record.created))
        level = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        return printable(f"{stamp} {level}{record.message}")


@contextmanager
def logging_started(*, as_json: bool) -> Iterator[None]:
    """Write this server's log to standard error, uvicorn's complaints and warnings with it."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonLines() if as_json else _Lines())
    uvicorn = logging.getLogger("uvicorn.error")
    multipart = logging.getLogger("python_multipart")
    before = [(each, each.level, each.propagate) for each in (log, uvicorn, multipart)]
    log.setLevel(logging.INFO)
    uvicorn.setLevel(logging.WARNING)
    multipart.setLevel(logging.CRITICAL)  # complains of what clients send
    for logger in (log, uvicorn):
        logger.propagate = False
        logger.addHandler(handler)
    show = warnings.showwarning
    warnings.showwarning = lambda message, *_: log.warning("%s", message)
    try:
        yield
    finally:
        warnings.showwarning = show
        for logger, level, propagate in before:
            logger.setLevel(level)
            logger.propagate = propagate
            logger.removeHandler(handler)
