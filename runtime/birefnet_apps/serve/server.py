"""Listening, and ending well: sockets, connections within bounds, and what a signal does."""

import errno
import ipaddress
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
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
_NO_SUCH_ADDRESS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
"""Where a machine does without IPv6, or without IPv4."""


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
        if self._signals.reload:
            self._signals.reload = False
            self._service.reload_keys()
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


@contextmanager
def listen(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Open a port at each address of a host, as IPv4's and IPv6's of `localhost`, for a block.

    Args:
        host: a name or an address; of the addresses that a name has here, some may be missing.
        port: 0 takes a free one, the same at each address.

    Raises:
        ServeError: it can't be: it is in use, or not ours.
    """
    with ExitStack() as opened:
        try:
            sockets = _listening(host, port, opened)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            where = f"{host}, port {port}"
            raise ServeError(f"{where}: can't listen there: {reason.lower()}") from error
        yield sockets


def _listening(host: str, port: int, opened: ExitStack) -> list[socket.socket]:
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    for family, address in dict.fromkeys((info[0], str(info[4][0])) for info in infos):
        try:
            each = socket.create_server((address, port), family=family, backlog=BACKLOG)
        except OSError as error:
            if error.errno not in _NO_SUCH_ADDRESS:
                raise
            missing = error
            continue
        sockets.append(opened.enter_context(each))
        port = each.getsockname()[1]
    if missing is not None and not sockets:
        raise missing
    return sockets


@contextmanager
def listen_unix(path: Path) -> Iterator[list[socket.socket]]:
    """Open a unix socket, for a block. Who may write to it may use it; its rights follow the umask.

    What a server left there that is gone is replaced.

    Raises:
        ServeError: it can't be, as where another server listens, or another file is.
    """
    with ExitStack() as opened:
        try:
            if path.is_socket():
                with socket.socket(socket.AF_UNIX) as asking:
                    if asking.connect_ex(str(path)) == errno.ECONNREFUSED:
                        path.unlink()
            each = opened.enter_context(socket.socket(socket.AF_UNIX))
            each.bind(str(path))
            each.listen(BACKLOG)
        except (OSError, AttributeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ServeError(f"{path}: can't listen there: {reason.lower()}") from error
        own = path.stat().st_ino
        try:
            yield [each]
        finally:
            with suppress(OSError):
                if path.stat().st_ino == own:
                    path.unlink()


def is_local(opened: socket.socket) -> bool:
    """Whether only this machine reaches a socket."""
    name = opened.getsockname()
    if not isinstance(name, tuple):
        return True
    return ipaddress.ip_address(name[0].partition("%")[0]).is_loopback


def address_of(opened: socket.socket) -> str:
    """`http://127.0.0.1:7000`, `unix:/run/birefnet.sock`."""
    name = opened.getsockname()
    if not isinstance(name, tuple):
        return f"unix:{name}"
    host, port = name[:2]
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
    opened: list[socket.socket],
    signals: Signals | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; then answer what is in hand.

    In the main thread it handles signals; a second one ends the process.

    Args:
        segmenter: the open model; closed at the end.
        settings: the server's bounds.
        name: of the model.
        opened: where to listen; closed at the end.
        signals: what handles signals already; by default they are handled while this runs.

    Raises:
        BirefnetError: the model can't run; says why.
    """
    if signals is None:
        with Signals() as signals:
            serve(segmenter, settings, name, opened, signals)
        return
    return_freed_blocks()
    with segmenter:
        service = Service(segmenter, settings, name)
        log.info("listening on %s", ", ".join(map(address_of, opened)))
        signals.serving = True
        make_server(service, settings, signals).run(sockets=opened)
    failure = service.failure
    if isinstance(failure, BirefnetError):
        raise failure
    if failure is not None:
        raise ServeError(f"the model can't run: {first_line(failure)}") from failure
