"""What a server is told: where it listens, what it lets in, how much it takes on."""

from dataclasses import dataclass
from pathlib import Path

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
        batch: pictures that may go through the network at once.
        keys: any of them opens the server; none: it is open.
        page: whether `GET /` shows the page.
        origins: of other sites whose pages may use the server from a browser; `*` for all.
        memory_left: bytes that a limit of memory leaves beside the model; None without one.
    """

    queue: int = 16
    max_pixels: int = 50_000_000
    max_upload_bytes: int = 25_000_000
    timeout_s: float = 60.0
    drain_delay_s: float = 5.0
    keep_alive_s: float = 75.0
    busy_status: int = 503
    batch: int = 1
    keys: tuple[bytes, ...] = ()
    page: bool = True
    origins: tuple[str, ...] = ()
    memory_left: float | None = None

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
    """Read a file of keys, one a line; empty lines and what follows `#` at a line's start are left.

    Raises:
        ServeError: it can't be read, or holds no key that can be sent in a header.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise ServeError(f"{path}: the keys can't be read: {reason.lower()}") from error
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    for number, key in enumerate(keys, 1):
        if not (key.isascii() and key.isprintable()) or len(key) > MOST_KEY_CHARACTERS:
            raise ServeError(
                f"{path}: key {number} can't be sent in a header: printable ASCII and at most "
                f"{MOST_KEY_CHARACTERS} characters, please"
            )
    if not keys:
        raise ServeError(f"{path}: holds no key; write one into it, on a line of its own")
    return tuple(key.encode("ascii") for key in keys)
