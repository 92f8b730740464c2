"""Serving, and ending well: what signals ask of a server: to drain, to end at once, to read its
keys again."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from types import FrameType, TracebackType
from typing import Any, Self

import uvicorn
from birefnet_models.base.errors import BirefnetError
from birefnet_models.base.text import first_line
from birefnet_runtime.errors import ServeError
from birefnet_runtime.machine import return_freed_blocks
from birefnet_runtime.segmenter import Segmenter

from .access import log
from .app import Service
from .connection import BoundedConnection
from .listening import address_of
from .settings import Settings

RELOAD_SIGNAL = getattr(signal, "SIGHUP", -1)
"""The keys are read again on it; Windows has none."""
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
)


class EndedEarly(KeyboardInterrupt):
    """The server is told to end before it serves."""


class Signals:
    """Handles signals inside of a `with` block, in the main thread; elsewhere nothing comes.

    Before `serving` is set the first signal that asks for an end leaves the block, without an
    error. After that it is for the server to look at `ended_by`. A second one ends the process at
    once, with 128 and the signal's number as exit code: threads that are in the middle of a picture
    can't be stopped in another way.

    Attributes:
        ended_by: the number of the signal that asked for an end; 0 as long as none has.
        reload: SIGHUP came; set back by who reads the keys again.
        serving: whether a server looks at these.
    """

    def __init__(self) -> None:
        self.ended_by = 0
        self.reload = False
        self.serving = False
        self._before: dict[int, Any] = {}
        self._terminals = [number for number in range(3) if os.isatty(number)]

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (*STOP_SIGNALS, *([RELOAD_SIGNAL] if RELOAD_SIGNAL > 0 else [])):
                if signal.getsignal(number) != signal.SIG_IGN or number == RELOAD_SIGNAL:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        for number, handler in self._before.items():
            # The process is about to end; another Ctrl-C shall not show where it was.
            signal.signal(number, signal.SIG_DFL if self.ended_by else handler)
        # What was interrupted may have made another error of it.
        return bool(self.ended_by) and not self.serving and error is not None

    def _handle(self, number: int, _: FrameType | None) -> None:
        if number == RELOAD_SIGNAL and not self._leave_terminal():
            self.reload = True
            return
        if self.ended_by:
            os._exit(128 + number)
        self.ended_by = number
        if not self.serving:
            raise EndedEarly

    def _leave_terminal(self) -> bool:
        """Do without the terminal that was there, if it is gone; whether it is."""
        gone = [number for number in self._terminals if not os.isatty(number)]
        for number in gone:
            with suppress(OSError):
                nowhere = os.open(os.devnull, os.O_RDWR)
                os.dup2(nowhere, number)
                os.close(nowhere)
        return bool(gone)


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
