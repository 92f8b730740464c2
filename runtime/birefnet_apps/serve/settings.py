"""What a server is told: where it listens, what it lets in, how much it takes on."""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from birefnet_runtime.errors import ServeError

PICTURES_OF_MOST_PIXELS = 4
"""The pictures under way may have so many times the pixels of the largest one allowed."""
UPLOADS_OF_MOST_BYTES = 8
"""Bodies that arrive and answers that leave may take so many times the largest body's bytes."""
HEADER_TIMEOUT_S = 10.0
"""Seconds for a connection to say what it wants."""
STALL_TIMEOUT_S = 10.0
"""Seconds in which a client may take nothing of its answer before it is cut off."""
SLOWEST = 10_000
"""Bytes a second at which an answer must leave, on average, once it takes longer than the timeout:
a client on a slow line gets all of it, and none holds its memory for ever."""
MOST_CONNECTIONS = 512
"""Connections at once; below what 1,024 open files, a usual limit, leave room for."""
SPARE_CONNECTIONS = 32
"""Further ones, which may ask whether the server lives while requests are under way on all others.
"""
MOST_KEY_CHARACTERS = 512


@dataclass(frozen=True, slots=True)
class Proxies:
    """Who is believed when it says whose request it hands on.

    Attributes:
        networks: addresses of proxies.
        everyone: all are believed.
        unix: so are those that come by a unix socket.
    """

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    everyone: bool = False
    unix: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read addresses and networks, `unix` and `*`, with commas between them.

        Raises:
            ValueError: one is none of these.
        """
        words = [word.strip() for word in text.split(",") if word.strip()]
        networks = (ipaddress.ip_network(word) for word in words if word not in {"*", "unix"})
        return cls(tuple(networks), "*" in words, "*" in words or "unix" in words)

    def client(self, peer: str | None, forwarded: Sequence[str]) -> str:
        """The address of who sent a request.

        Args:
            peer: the address at the connection's other end; None of a unix socket.
            forwarded: the `X-Forwarded-For` headers.

        Returns:
            the last address that a proxy which is believed was asked by; `-` where there is none.
        """
        known = peer or "-"
        hops = [hop.strip() for header in forwarded for hop in header.split(",")]
        while hops and (self.unix if known == "-" else self._are_believed(known)):
            address = _address(hops.pop())
            if address is None:
                break
            known = str(address)
        return known

    def _are_believed(self, address: str) -> bool:
        found = _address(address)
        inside = any(found in network for network in self.networks if found is not None)
        return self.everyone or inside


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address of `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`."""
    bare = text[1:].partition("]")[0] if text.startswith("[") else text
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@dataclass(frozen=True, slots=True)
class Settings:
    """Bounds of a server, and who may use it.

    Attributes:
        queue: requests that may wait and be worked on together; the next one is refused.
        max_pixels: of a picture, by its header.
        max_upload_bytes: of a request's body.
        timeout_s: seconds for a body to arrive, for the answer to be made, and for it to leave.
        drain_delay_s: seconds between SIGTERM, from which on `/ready` answers 503, and the closing
            of the port.
        keep_alive_s: seconds for which a connection is kept between two requests.
        busy_status: HTTP's status of what is refused since there is too much to do: 503 or 429.
        unload_after_s: seconds without a picture after which the model's memory is freed, until the
            next one; None: it is kept.
        batch: pictures that may go through the network at once.
        keys: any of them opens the server; none: it is open.
        key_file: where they are read again on SIGHUP.
        proxies: who is believed about whose request it hands on, in the log.
        page: whether `GET /` shows the page.
        origins: of other sites whose pages may use the server from a browser; `*` for all.
        memory_left: bytes that a limit of memory leaves beside the model; None without one.
        what_fits: told how many bytes a picture takes, says how the server takes it; None without
            a limit.
    """

    queue: int = 16
    max_pixels: int = 50_000_000
    max_upload_bytes: int = 25_000_000
    timeout_s: float = 60.0
    drain_delay_s: float = 5.0
    keep_alive_s: float = 75.0
    busy_status: int = 503
    unload_after_s: float | None = None
    batch: int = 1
    keys: tuple[bytes, ...] = ()
    key_file: Path | None = None
    proxies: Proxies = field(default_factory=Proxies)
    page: bool = True
    origins: tuple[str, ...] = ()
    memory_left: float | None = None
    what_fits: Callable[[float], str] | None = None

    @property
    def queue_pixels(self) -> int:
        """Pixels of all pictures that wait, are worked on, or whose answer is being sent."""
        return PICTURES_OF_MOST_PIXELS * self.max_pixels

    @property
    def held_bytes(self) -> float:
        """Bytes of bodies and answers in memory, from which on new bodies are refused."""
        usual = UPLOADS_OF_MOST_BYTES * self.max_upload_bytes
        return usual if self.memory_left is None else min(usual, self.memory_left / 4)


def read_keys(path: Path) -> tuple[bytes, ...]:
    """Read a file of keys, one a line; empty lines and those that begin with `#` are left.

    Raises:
        ServeError: it can't be read, or holds no key that can be sent in a header.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ServeError(f"{path}: the keys can't be read: {reason.lower()}") from error
    keys = [key for line in lines if (key := line.strip()) and not key.startswith("#")]
    for number, key in enumerate(keys, 1):
        if not (key.isascii() and key.isprintable()) or len(key) > MOST_KEY_CHARACTERS:
            raise ServeError(
                f"{path}: key {number} can't be sent in a header: printable ASCII and at most "
                f"{MOST_KEY_CHARACTERS} characters, please"
            )
    if not keys:
        raise ServeError(f"{path}: holds no key; write one into it, on a line of its own")
    return tuple(key.encode("ascii") for key in keys)
