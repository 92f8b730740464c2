"""The addresses that a server answers, and how a request becomes a picture."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, TypeAlias, TypeVar

from birefnet_runtime.errors import ServeError
from birefnet_runtime.segmenter import Segmenter
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from ..files.steps import Weight
from .access import REQUEST_ID, Access, Record, log
from .apis import rembg, removebg
from .errors import HungUp, Outcome, Refusal, outcome_of, url_refused
from .form import Fields, joined_fields, parse_fields, parse_query, prefers_json, read_body
from .job import OUTPUT_MEDIA_TYPES, READ_FORMATS, Order, Reply, weigh_order
from .limits import RequestQueue, UploadBudget
from .metrics import MEDIA_TYPE, Metrics
from .page import page_policy, read_page
from .runner import Runner
from .settings import SLOWEST, Settings, read_keys

Value = TypeVar("Value")
Understand: TypeAlias = Callable[[Fields], tuple[Order, dict[str, str]]]
Present: TypeAlias = Callable[[Reply], tuple[bytes, dict[str, str]]]

PARSERS = 2
_PIECE = 1 << 16
_NOT_STORED = {"Cache-Control": "no-store"}
_EXPOSED = (
    *("X-Width", "X-Height", "X-Type", "X-Credits-Charged", "Retry-After"),
    *("X-Ignored", REQUEST_ID),
    *("X-Foreground-Top", "X-Foreground-Left", "X-Foreground-Width", "X-Foreground-Height"),
)


class _Raw:
    """An endpoint that sends its answer itself."""

    def __init__(self, handle: Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]) -> None:
        self._handle = handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._handle(scope, receive, send)


class Service:
    """A model behind HTTP.

    Args:
        segmenter: the open model; used by this service alone.
        settings: its bounds.
        name: of the model.
    """

    def __init__(self, segmenter: Segmenter, settings: Settings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._queue = RequestQueue(settings.queue, settings.queue_pixels)
        self._held = UploadBudget(settings.held_bytes)
        info = segmenter.session_info
        provider = info.provider.name if info else "custom"
        self._facts = {
            "model": name,
            "provider": f"{provider} (birefnet-ort-kernels)" if info and info.kernels else provider,
            "size": "x".join(map(str, segmenter.model_size((1, 1)))),
            "version": version("birefnet-ort"),
        }
        self._metrics = Metrics(self._queue, self._held, self._facts, settings.batch)
        self._runner = Runner(segmenter, settings, self._queue, self._metrics)
        self.keys = settings.keys
        self._parsers = ThreadPoolExecutor(PARSERS, "birefnet-parse")
        page = read_page() if settings.page else None
        self._page = None if page is None else (page, page_policy(page))
        self.ready = False
        self.draining = False
        self.failure: Exception | None = None
        """Why the model can't run."""

    def app(self) -> Starlette:
        """The service as an ASGI application."""
        routes = [
            Route("/health", self._health),
            Route("/ready", self._ready),
            Route("/metrics", self._show_metrics),
            Route("/v1/info", self._info),
            Route("/v1.0/account", self._account),
            Route("/v1.0/removebg", _Raw(self._removebg), methods=["POST"]),
            Route("/api/remove", self._refuse_url, methods=["GET"]),
            Route("/api/remove", _Raw(self._rembg), methods=["POST"]),
        ]
        if self._page is not None:
            routes.append(Route("/", self._show_page))
        paths = frozenset(route.path for route in routes)
        access = Middleware(
            Access,
            settings=self._settings,
            metrics=self._metrics,
            paths=paths,
            keys=lambda: self.keys,
        )
        cors = Middleware(
            CORSMiddleware,
            allow_origins=self._settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["X-Api-Key", "Authorization", "Content-Type", "Accept", REQUEST_ID],
            expose_headers=_EXPOSED,
        )
        app = Starlette(
            routes=routes,
            middleware=[cors, access] if self._settings.origins else [access],
            exception_handlers={HTTPException: _no_such_thing},
            lifespan=self._life,
        )
        # To an address made of the Host header, which is not the proxy's; Access takes slashes off.
        app.router.redirect_slashes = False
        return app

    def reload_keys(self) -> None:
        """Read the keys again; where that fails, those that are known stay."""
        if self._settings.key_file is None:
            log.warning("there is no file of keys to be read again")
            return
        try:
            self.keys = read_keys(self._settings.key_file)
        except ServeError as error:
            log.error("%s; the keys stay as they were", error)
        else:
            log.info("the keys were read again: %d", len(self.keys))

    @asynccontextmanager
    async def _life(self, _: Starlette) -> AsyncIterator[None]:
        warming = asyncio.create_task(self._warm_up())
        try:
            yield
        finally:
            self.draining = True
            warming.cancel()
            await self._runner.stop()
            self._parsers.shutdown(wait=True, cancel_futures=True)

    async def _warm_up(self) -> None:
        try:
            await self._runner.start()
        except Exception as error:  # noqa: BLE001 whatever it is, the server ends
            self.failure = error
        else:
            self.ready = True
            log.info("ready: %s", " ".join(f"{name}={what}" for name, what in self._facts.items()))

    async def _health(self, _: Request) -> Response:
        return PlainTextResponse("alive", headers=_NOT_STORED)

    async def _ready(self, _: Request) -> Response:
        if self.draining:
            return PlainTextResponse("draining", 503, _NOT_STORED)
        if not self.ready:
            return PlainTextResponse("warming up", 503, {"Retry-After": "1", **_NOT_STORED})
        if not self._runner.opens:
            return PlainTextResponse("the model can't be opened", 503, _NOT_STORED)
        return PlainTextResponse("ready", headers=_NOT_STORED)

    async def _show_metrics(self, _: Request) -> Response:
        return Response(self._metrics.text(), headers=_NOT_STORED, media_type=MEDIA_TYPE)

    async def _info(self, _: Request) -> Response:
        facts = {
            **self._facts,
            "max_megapixels": self._settings.max_pixels / 1e6,
            "max_upload_bytes": self._settings.max_upload_bytes,
            "needs_key": bool(self.keys),
            "formats": sorted(READ_FORMATS),
        }
        return JSONResponse(facts, headers=_NOT_STORED)

    async def _account(self, _: Request) -> Response:
        return JSONResponse(removebg.ACCOUNT, headers=_NOT_STORED)

    async def _show_page(self, _: Request) -> Response:
        assert self._page is not None  # else there is no such address
        page, policy = self._page
        headers = {"Content-Security-Policy": policy, "Cache-Control": "no-cache"}
        return Response(page, headers=headers, media_type="text/html")

    async def _refuse_url(self, _: Request) -> Response:
        raise url_refused("url")

    async def _removebg(self, scope: Scope, receive: Receive, send: Send) -> None:
        as_json = prefers_json(Headers(scope=scope).getlist("accept"))

        def present(answer: Reply) -> tuple[bytes, dict[str, str]]:
            headers = removebg.answer_headers(answer)
            if as_json:
                content = json.dumps(removebg.answer_json(answer)).encode("ascii")
                return content, {**headers, "Content-Type": "application/json"}
            return answer.content, {**headers, "Content-Type": OUTPUT_MEDIA_TYPES[answer.output]}

        await self._cut_out(scope, receive, send, removebg.read_removebg, present)

    async def _rembg(self, scope: Scope, receive: Receive, send: Send) -> None:
        def understand(fields: Fields) -> tuple[Order, dict[str, str]]:
            return rembg.read_rembg(fields, self._name)

        def present(answer: Reply) -> tuple[bytes, dict[str, str]]:
            return answer.content, {"Content-Type": OUTPUT_MEDIA_TYPES[answer.output]}

        await self._cut_out(scope, receive, send, understand, present)

    async def _cut_out(
        self, scope: Scope, receive: Receive, send: Send, understand: Understand, present: Present
    ) -> None:
        """Answer a request with a picture.

        Raises:
            Refusal, HungUp: it isn't.
        """
        record: Record = scope["state"]["record"]
        headers, settings = Headers(scope=scope), self._settings
        body = await read_body(
            receive, headers, settings.max_upload_bytes, settings.timeout_s, self._held
        )
        record.bytes_in = size = len(body)

        def parse(body: bytes) -> tuple[Order, dict[str, str], Weight]:
            fields = parse_fields(headers.get("content-type", ""), body)
            order, extra = understand(joined_fields(parse_query(scope["query_string"]), fields))
            return order, extra, weigh_order(order, settings)

        try:
            in_thread = asyncio.get_running_loop().run_in_executor
            parsing = in_thread(self._parsers, Outcome.later(parse, body))
            del body
            order, extra, weight = (await parsing).taken()
            record.pixels = weight.pixels
            with self._queue.slot(weight.pixels) as slot:
                work = self._runner.answer(order, weight, record.seconds)
                del order
                answer = await self._unless_gone(receive, work)
                slot.answered()
                self._held.bytes -= size
                size = 0
                content, facts = present(answer)
                del answer
                with self._held.answer(len(content)):
                    await self._deliver(scope, send, content, {**extra, **facts})
        finally:
            self._held.bytes -= size

    async def _unless_gone(self, receive: Receive, work: Coroutine[Any, Any, Value]) -> Value:
        """Wait for work while its client does, but not for ever.

        Raises:
            HungUp: the client left.
            Refusal: it took too long.
        """
        working = asyncio.create_task(outcome_of(work))
        leaving = asyncio.create_task(_hang_up(receive))
        try:
            await asyncio.wait(
                {working, leaving},
                timeout=self._settings.timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if working.done():
                return working.result().taken()
            if leaving.done():
                raise HungUp
            raise Refusal(
                503,
                "timeout",
                f"the picture wasn't done within {self._settings.timeout_s:g} s",
                retry_after_s=self._queue.retry_after_s,
            )
        finally:
            leaving.cancel()
            if not working.done():
                working.cancel()
                await asyncio.wait({working})

    async def _deliver(
        self, scope: Scope, send: Send, content: bytes, headers: dict[str, str]
    ) -> None:
        """Send an answer, until the client's machine has it; cut the client off that takes it too
        slowly.

        Raises:
            HungUp: it left, or was cut off.
        """
        connection, timeout_s = scope["state"]["connection"], self._settings.timeout_s
        clock = asyncio.get_running_loop().time
        started = clock()
        headers = {**headers, **_NOT_STORED, "Content-Length": str(len(content))}
        start: Message = {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers.items()
            ],
        }
        try:
            async with asyncio.timeout(timeout_s) as limit:
                await send(start)
                for place in range(0, len(content), _PIECE):
                    if connection.transport.is_closing():
                        raise HungUp  # else asyncio complains of each piece
                    piece = content[place : place + _PIECE]
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                    taken = place + len(piece) - connection.unsent()
                    limit.reschedule(started + max(timeout_s, taken / SLOWEST))
                limit.reschedule(started + max(timeout_s, len(content) / SLOWEST))
                await connection.drained()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (TimeoutError, HungUp):
            connection.abort()
            await asyncio.sleep(0)  # its end is noticed
            raise HungUp from None


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _no_such_thing(request: Request, error: Exception) -> Response:
    """404 and 405 in the form of the other errors."""
    assert isinstance(error, HTTPException)
    titles = {404: "no such address", 405: "no such method here"}
    refusal = Refusal(error.status_code, "not_found", titles.get(error.status_code, "refused"))
    headers = {**(error.headers or {}), **refusal.headers()}
    return JSONResponse(refusal.as_removebg(), refusal.status, headers)
