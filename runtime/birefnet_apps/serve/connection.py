"""A connection within bounds: what it may hold open, for how long, and what of an answer has left.

It reads and overrides parts of uvicorn's protocol, whose version pyproject.toml therefore caps.
"""

import asyncio
import math
import socket
import struct
from contextlib import suppress

from uvicorn.protocols.http.h11_impl import H11Protocol

from .errors import HungUp
from .settings import HEADER_TIMEOUT_S, MOST_CONNECTIONS, SPARE_CONNECTIONS, STALL_TIMEOUT_S

_SMALL_CHUNKS = 32
"""Bytes for each end of a line in a chunked body, below which it is hardly a picture: thousands of
chunks of a byte each keep the parser busy, and everybody waits for it."""
_UNSENT_IN_KERNEL = 1 << 17
"""Bytes that the system keeps beyond those on their way. By default it keeps megabytes, and says
that a slow client takes something once in half a minute."""
_LONGEST_LOOK_S = 0.05


class BoundedConnection(H11Protocol):
    """A connection that can't be held open for nothing.

    Attributes:
        idle_since: the loop's time since which no request is under way; None while one is.
        left: bytes that were written and that the client's machine never took, once it has ended.
    """

    idle_since: float | None = None
    left: int | None = None
    _timer: asyncio.TimerHandle | None = None
    _saying = True
    _unsent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection. Beyond the most, the one that is idle for longest makes room; where
        none is, a few may still ask whether the server lives."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "connection": self, "spare": False}
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with suppress(OSError):  # a socket of another family
                transport.get_extra_info("socket").setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_IN_KERNEL
                )
        crowd = [each for each in self.connections if not each.transport.is_closing()]
        if len(crowd) > MOST_CONNECTIONS:
            idle = [each for each in crowd if getattr(each, "idle_since", None) is not None]
            if idle:
                min(idle, key=_idle_since).transport.abort()
            elif len(crowd) > MOST_CONNECTIONS + SPARE_CONNECTIONS:
                self.abort()
                return
            else:
                self.app_state["spare"] = True
        self.idle_since = self.loop.time()
        self._cut_off_in(HEADER_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline, and note what didn't leave."""
        if self.left is None:
            self.left = self.unsent() if exc is None else self._unsent
        self._cut_off_in(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on. A request whose headers are whole has said what it wants."""
        chunked = self.headers is not None and (b"transfer-encoding", b"chunked") in self.headers
        if chunked and len(data) > 4096 and data.count(b"\r\n") * _SMALL_CHUNKS > len(data):
            self.abort()
            return
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self.idle_since = None
            self._cut_off_in(None)  # what now comes of the body has a deadline of its own
        elif not self._saying:
            self._saying = True
            self._cut_off_in(HEADER_TIMEOUT_S)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, and close. A request that is under way gets no other answer."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:  # a second head would stand in the middle of the answer
                self.abort()
                return
            if cycle.scope["method"] == "HEAD":  # whose answer has no body
                msg = ""
        super().send_400_response(msg)

    def on_response_complete(self) -> None:
        """Wait for the next request; what is left of the answer must go, too."""
        super().on_response_complete()
        if self.cycle.response_complete:
            self._saying = False
            self.idle_since = self.loop.time()
            self._cut_off_in(self.timeout_keep_alive + STALL_TIMEOUT_S)

    def pause_writing(self) -> None:
        """The client takes nothing for the moment."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """The client took something."""
        self._cut_off_in(None)
        super().resume_writing()

    def abort(self) -> None:
        """End it at once, whatever is under way."""
        if self.left is None:
            self.left = self.unsent()
        self._cut_off_in(None)
        self.transport.abort()

    def unsent(self) -> int:
        """Bytes that were written and that the client's machine hasn't taken yet."""
        opened = self.transport.get_extra_info("socket")
        self._unsent = self.transport.get_write_buffer_size() + _bytes_in_kernel(opened)
        return self._unsent

    async def drained(self) -> None:
        """Wait until the client's machine has all that was written.

        Raises:
            HungUp: it never will.
        """
        pause_s = 0.001
        self._watch()
        while self.left is None and self.unsent():
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_LOOK_S)
        self._cut_off_in(None)
        if self.left:
            raise HungUp

    def _watch(self, least: float = math.inf, since: float = 0.0) -> None:
        """Look from time to time; cut a client off that takes nothing for too long.

        Args:
            least: bytes that were unsent at most, up to now.
            since: the loop's time since which it is so.
        """
        unsent, now = self.unsent(), self.loop.time()
        if unsent < least:
            least, since = unsent, now
        if now - since >= STALL_TIMEOUT_S:
            self.abort()
            return
        self._cut_off_in(None)
        self._timer = self.loop.call_later(STALL_TIMEOUT_S / 10, self._watch, least, since)

    def _cut_off_in(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self.abort)


def _idle_since(connection: object) -> float:
    since: float = getattr(connection, "idle_since", math.inf)
    return since


def _bytes_in_kernel(opened: socket.socket) -> int:
    """Bytes of a socket that the other side hasn't acknowledged; 0 where the system can't tell."""
    try:
        from fcntl import ioctl
        from termios import TIOCOUTQ

        (count,) = struct.unpack("i", ioctl(opened.fileno(), TIOCOUTQ, bytes(4)))
    except (ImportError, OSError, ValueError):  # Windows; another system; closed
        return 0
    return int(count)
