"""Clients of a server: good ones, whose answers are timed and compared, and bad ones."""

import http.client
import io
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

PHOTO = Path("examples/photos/flower.jpg")
BOUNDARY = "9b1d"
MODEL_PART = 'Content-Disposition: form-data; name="model"'
PATIENCE_S = 300
BOMB_SIDES = (11_000, 8_000)
"""88 megapixels."""


def form(files: Mapping[str, bytes], model: str | None = None) -> bytes:
    """A multipart body with some files, and a model where one is asked for."""
    asked = "" if model is None else f"--{BOUNDARY}\r\n{MODEL_PART}\r\n\r\n{model}\r\n"
    body = asked.encode()
    for name, content in files.items():
        place = f'Content-Disposition: form-data; name="{name}"; filename="a"'
        body += f"--{BOUNDARY}\r\n{place}\r\n\r\n".encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def jpeg(sides: tuple[int, int]) -> bytes:
    """The example photograph as a JPEG of (width, height)."""
    stream = io.BytesIO()
    Image.open(PHOTO).convert("RGB").resize(sides).save(stream, "JPEG", quality=92)
    return stream.getvalue()


def bomb() -> bytes:
    """A small PNG of 88 megapixels."""
    stream = io.BytesIO()
    Image.new("RGB", BOMB_SIDES).save(stream, "PNG", optimize=True)
    return stream.getvalue()


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send pictures.

    Attributes:
        port: on loopback.
        path: that takes them.
        field: of the form, that holds the picture.
        model: that is asked for; None: the one that runs.
    """

    port: int
    path: str = "/v1.0/removebg"
    field: str = "image_file"
    model: str | None = None

    def form(self, content: bytes, more: Mapping[str, bytes] | None = None) -> bytes:
        """A multipart body with a picture, and more fields."""
        return form({self.field: content, **(more or {})}, self.model)

    def post(self, body: bytes) -> tuple[int, bytes]:
        """Send a form; (status, content) of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            kind = f"multipart/form-data; boundary={BOUNDARY}"
            connection.request("POST", self.path, body, {"Content-Type": kind})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def get(self, path: str) -> tuple[int, bytes]:
        """Ask for an address; (status, content)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def begin(self, length: int, receive_bytes: int | None = None) -> socket.socket:
        """A connection on which a form of that length was promised.

        Args:
            length: bytes.
            receive_bytes: about how much the client's side takes that isn't read yet.
        """
        connection = socket.socket()
        connection.settimeout(PATIENCE_S)
        if receive_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.connect(("127.0.0.1", self.port))
        connection.sendall(
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode()
        )
        return connection


@dataclass(slots=True)
class Tally:
    """What clients saw. Threads may share it.

    Attributes:
        seconds: of each good answer.
        outcomes: how often each kind of client saw what: `good 200`, `bomb 413`.
        wrong: answers that should not have been.
    """

    seconds: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, outcome: object, *, right: bool, seconds: float | None = None) -> None:
        """Note what a client saw."""
        with self.lock:
            self.outcomes[f"{kind} {outcome}"] += 1
            if not right:
                self.wrong.append(f"{kind} {outcome}")
            if seconds is not None:
                self.seconds.append(seconds)


def percentile(seconds: list[float], share: float) -> float | None:
    """The given share's percentile; None of nothing."""
    return float(np.quantile(seconds, share)) if seconds else None


def send_good(target: Target, body: bytes, expected: bytes | None, tally: Tally) -> None:
    """A picture, whose answer must be the one that it always is; or a refusal for lack of room."""
    started = time.perf_counter()
    try:
        status, content = target.post(body)
    except OSError as error:
        tally.add("good", type(error).__name__, right=False)
        return
    took = time.perf_counter() - started
    right = (status == 200 and expected in {None, content}) or status == 503
    tally.add("good", status, right=right, seconds=took if status == 200 else None)


def run_clients(count: int, seconds: float, act: Callable[[random.Random], None]) -> float:
    """Let so many clients act, again and again; the wall time until the last one is done."""
    started = time.perf_counter()

    def repeat(number: int) -> None:
        draw = random.Random(number)
        while time.perf_counter() - started < seconds:
            act(draw)

    threads = [threading.Thread(target=repeat, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def run_all(clients: int, count: int, act: Callable[[random.Random], None], *, seed: int) -> None:
    """Act so many times, by some clients at once; what each draws follows from the seed."""

    def repeat(number: int) -> None:
        draw = random.Random(seed * clients + number)
        for _ in range(number, count, clients):
            act(draw)

    threads = [threading.Thread(target=repeat, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Crowd:
    """Clients of every kind, good and bad.

    Args:
        target: whom they meet.
        body: a good form.
        expected: its answer.
        tally: where they note what they saw.
    """

    def __init__(self, target: Target, body: bytes, expected: bytes, tally: Tally) -> None:
        self._target = target
        self._body = body
        self._expected = expected
        self._tally = tally
        self._bomb = target.form(bomb())

    def act(self, draw: random.Random) -> None:
        """Be some kind of client once."""
        kinds = (self.good, self.bomb, self.slow, self.hang_up, self.random_bytes)
        draw.choices(kinds, (4, 2, 1, 2, 2))[0](draw)

    def good(self, _: random.Random) -> None:
        """One that wants a picture, and waits a moment where there is no room."""
        send_good(self._target, self._body, self._expected, self._tally)
        time.sleep(0.05)

    def bomb(self, _: random.Random) -> None:
        """A small file of 88 megapixels."""
        self._expect("bomb", self._bomb, {413, 503})

    def random_bytes(self, draw: random.Random) -> None:
        """A body that is nothing, or a form whose file is nothing."""
        junk = draw.randbytes(draw.choice((0, 1, 100, 10_000, 300_000)))
        body = junk if draw.random() < 0.5 else self._target.form(b"\x89PNG\r\n\x1a\n" + junk)
        self._expect("random", body, {400, 413, 503})

    def slow(self, draw: random.Random) -> None:
        """One that sends some bytes a second, and gives up."""
        try:
            with self._target.begin(len(self._body)) as connection:
                for place in range(0, 20 * 64, 64):
                    connection.sendall(self._body[place : place + 64])
                    time.sleep(draw.uniform(0.05, 0.15))
        except OSError as error:
            self._tally.add("slow", type(error).__name__, right=True)
        else:
            self._tally.add("slow", "gave up", right=True)

    def hang_up(self, draw: random.Random) -> None:
        """One that leaves before its answer."""
        try:
            with self._target.begin(len(self._body)) as connection:
                connection.sendall(self._body)
                time.sleep(draw.uniform(0, 0.5))
        except OSError as error:
            self._tally.add("hang-up", type(error).__name__, right=True)
        else:
            self._tally.add("hang-up", "left", right=True)

    def _expect(self, kind: str, body: bytes, wanted: set[int]) -> None:
        try:
            status, _ = self._target.post(body)
        except OSError as error:
            self._tally.add(kind, type(error).__name__, right=False)
        else:
            self._tally.add(kind, status, right=status in wanted)
