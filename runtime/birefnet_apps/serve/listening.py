"""Where a server listens, and what is said there while its model opens, which may mean to fetch and
make it.

A probe that waits for an answer would take the server for one that hangs. So `/health` is right
from the start, and all else, `/ready` too, is 503 until the model's known answer was right.
"""

import errno
import ipaddress
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer
from typing import Any

from birefnet_runtime.errors import ServeError

BACKLOG = 128
_NO_SUCH_ADDRESS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
"""Where a machine does without IPv6, or without IPv4."""
RETRY_AFTER_S = 5
REQUEST_TIMEOUT_S = 2
"""For a request's line and headers: one client after the other is answered here."""
_POLL_S = 0.05


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


class _Answer(BaseHTTPRequestHandler):
    """Answers any request at once, without a look at its body, and closes the connection."""

    timeout = REQUEST_TIMEOUT_S
    server_version = ""
    sys_version = ""

    def answer(self) -> None:
        """`/health` is right; nothing else is there yet."""
        is_health = self.path.partition("?")[0].rstrip("/") == "/health"
        text = b"ok" if is_health else b"the model is opening"
        self.send_response_only(200 if is_health else 503)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        if not is_health:
            self.send_header("Retry-After", str(RETRY_AFTER_S))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = answer

    def log_message(self, format: str, *values: Any) -> None:
        """Nothing: requests are logged once there is a model."""


class _Server(TCPServer):
    """Takes connections of a socket that is open already, and leaves it open."""

    def __init__(self, opened: socket.socket) -> None:
        super().__init__(("", 0), _Answer, bind_and_activate=False)
        self.socket.close()
        self.socket = opened.dup()

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a client has left."""


@contextmanager
def answering(opened: Sequence[socket.socket]) -> Iterator[None]:
    """Answer on listening sockets while a block runs; after it they are as they were."""
    with ExitStack() as stack:
        for each in opened:
            server = stack.enter_context(_Server(each))
            thread = threading.Thread(target=server.serve_forever, args=(_POLL_S,), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
        yield
