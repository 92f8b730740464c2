"""Listening, and ending well: sockets, connections within bounds, and what a signal does."""

import ipaddress
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import uvicorn
from birefnet_models.base.errors import BirefnetError
from birefnet_models.base.text import first_line
from birefnet_runtime.errors import ServeError
from birefnet_runtime.machine import return_freed_blocks
from birefnet_runtime.segmenter import Segmenter

from .access import log
from .app import Service
from .connection import BoundedConnection
from .settings import Settings
from .signals import Signals

BACKLOG = 128


class DrainingServer(uvicorn.Server):
    """Ends when it is told to, with what is in hand answered.

    First `/ready` says that it drains, while everything else goes on, so that balancers send new
    requests elsewhere; then the port closes.
    """

    def __init__(
        self, config: uvicorn.Config, service: Service, settings: Settings, signals: Signals
    ) -> None:
        super().__init__(config)
        self._service = service
        self._drain_delay_s = settings.drain_delay_s
        self._signals = signals
        self._closes_at: float | None = None

    async def on_tick(self, counter: int) -> bool:
        """Whether it is time to end; called ten times a second."""
        if self._signals.ended_by and self._closes_at is None:
            self._drain()
        closing = self._closes_at is not None and monotonic() >= self._closes_at
        return await super().on_tick(counter) or closing or self._service.failure is not None

    def _drain(self) -> None:
        """Say that the server ends; nobody at a terminal waits for a balancer to hear it."""
        waits = self._service.ready and self._signals.ended_by != signal.SIGINT
        delay_s = self._drain_delay_s if waits else 0.0
        self._service.draining = True
        self._closes_at = monotonic() + delay_s
        log.info("draining: the port closes in %g s; another signal ends it at once", delay_s)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to who handles them already."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """Open the port.

    Raises:
        ServeError: it can't be: it is in use, or not ours.
    """
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = infos[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ServeError(f"{host}, port {port}: can't listen there: {reason.lower()}") from error


def is_loopback(opened: socket.socket) -> bool:
    """Whether only this machine reaches a socket."""
    return ipaddress.ip_address(opened.getsockname()[0].partition("%")[0]).is_loopback


def address_of(opened: socket.socket) -> str:
    """`http://127.0.0.1:7000`."""
    host, port = opened.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def make_server(
    service: Service, settings: Settings, signals: Signals | None = None
) -> DrainingServer:
    """Make a server of a service, ready to listen; `signals` tell it when to end."""
    config = uvicorn.Config(
        service.app(),
        http=BoundedConnection,
        ws="none",
        lifespan="on",
        loop="asyncio",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_s,  # type: ignore[arg-type]  # a float does
        timeout_graceful_shutdown=int(3 * settings.timeout_s) + 1,
    )
    return DrainingServer(config, service, settings, signals or Signals())


def serve(
    segmenter: Segmenter,
    settings: Settings,
    name: str,
    opened: socket.socket,
    signals: Signals | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; then answer what is in hand.

    In the main thread it handles signals; a second one ends the process.

    Args:
        segmenter: the open model; closed at the end.
        settings: the server's bounds.
        name: of the model.
        opened: where to listen.
        signals: what handles signals already; by default they are handled while this runs.

    Raises:
        BirefnetError: the model can't run; says why.
    """
    if signals is None:
        with Signals() as signals:
            serve(segmenter, settings, name, opened, signals)
        return
    return_freed_blocks()
    with opened, segmenter:
        service = Service(segmenter, settings, name)
        log.info("listening on %s", address_of(opened))
        signals.serving = True
        make_server(service, settings, signals).run(sockets=[opened])
    failure = service.failure
    if isinstance(failure, BirefnetError):
        raise failure
    if failure is not None:
        raise ServeError(f"the model can't run: {first_line(failure)}") from failure
