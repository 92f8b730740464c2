"""A real server on loopback, in a thread of this process, and a plain client for it."""

import asyncio
import http.client
import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from birefnet_apps.serve.app import Service
from birefnet_apps.serve.listening import listen
from birefnet_apps.serve.server import make_server
from birefnet_apps.serve.settings import Settings
from birefnet_runtime import Segmenter
from PIL import Image

PATIENCE_S = 90


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.005)


def multipart(
    fields: Mapping[str, str | bytes], boundary: str = "a7d1f"
) -> tuple[dict[str, str], bytes]:
    """Headers and body of a form; bytes are a file."""
    body = io.BytesIO()
    for name, value in fields.items():
        file = '; filename="photo.png"' if isinstance(value, bytes) else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        body.write(head.encode())
        body.write(value if isinstance(value, bytes) else value.encode())
        body.write(b"\r\n")
    body.write(f"--{boundary}--\r\n".encode())
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}, body.getvalue()


@dataclass
class Answer:
    """What a server said."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)

    def code(self) -> str:
        return str(self.json()["errors"][0]["code"])

    def title(self) -> str:
        return str(self.json()["errors"][0]["title"])

    def image(self) -> Image.Image:
        return Image.open(io.BytesIO(self.content))


class Running:
    """A server that runs."""

    def __init__(self, segmenter: Segmenter, settings: Settings) -> None:
        self.service = Service(segmenter, settings, "made")
        self.server = make_server(self.service, settings)
        self._opened = ExitStack()
        sockets = self._opened.enter_context(listen("127.0.0.1", 0))
        self.port: int = sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self.server.run, args=(sockets,))
        self._thread.start()
        wait_until(lambda: self.service.ready or self.service.failure is not None)

    def close(self) -> None:
        self.server.should_exit = True
        self._thread.join(PATIENCE_S)
        self._opened.close()
        assert not self._thread.is_alive()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Answer:
        connection = self.connect()
        try:
            connection.request(method, path, body, dict(headers or {}), **options)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, headers=headers)

    def post(
        self, path: str, fields: Mapping[str, str | bytes], headers: Mapping[str, str] | None = None
    ) -> Answer:
        own, body = multipart(fields)
        return self.request("POST", path, body, {**own, **(headers or {})})

    def removebg(self, image: bytes, **fields: str | bytes) -> Answer:
        return self.post("/v1.0/removebg", {"image_file": image, **fields})

    def start(self, action: Callable[[], Any]) -> "Started":
        return Started(action)


class Started:
    """Something that goes on in a thread, and its result."""

    def __init__(self, action: Callable[[], Any]) -> None:
        self._result: Any = None

        def work() -> None:
            self._result = action()

        self._thread = threading.Thread(target=work)
        self._thread.start()

    def result(self) -> Any:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self._result


class HeldSession:
    """Stands in for a graph: its runs wait until they are let go, or interrupted."""

    def __init__(self, side: int = 64) -> None:
        self.side = side
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)
        self.batches: list[int] = []
        self.stopped = threading.Event()
        self.interrupted = 0
        self.fail_on: Callable[[np.ndarray], bool] = lambda tensor: False

    def get_inputs(self) -> list[Any]:
        shape = ["batch", 3, "height", "width"]
        return [SimpleNamespace(name="image", type="tensor(float)", shape=shape)]

    def get_outputs(self) -> list[Any]:
        shape = ["batch", 1, "height", "width"]
        return [SimpleNamespace(name="mask", type="tensor(float)", shape=shape)]

    def get_modelmeta(self) -> Any:
        facts = {
            "birefnet.format": "1",
            "birefnet.trained_size": f"{self.side}x{self.side}",
            "birefnet.mean": "[0.5, 0.5, 0.5]",
            "birefnet.std": "[0.25, 0.25, 0.25]",
            "birefnet.resize": "stretch-bilinear-antialias",
            "birefnet.output": "logits",
            "birefnet.size_multiple": "32",
        }
        return SimpleNamespace(custom_metadata_map=facts)

    def run(self, _: Any, feed: Mapping[str, Any]) -> list[Any]:
        (tensor,) = feed.values()
        self.stopped.clear()
        if (tensor > -2).any():  # not the run that warms up, on black
            self.batches.append(len(tensor))
            self.begun.release()
            while not self.go.wait(0.005):
                if self.stopped.is_set():
                    raise RuntimeError("Exiting due to terminate flag being set to true.")
            if self.fail_on(tensor):
                return [np.full((len(tensor), 1, *tensor.shape[2:]), np.nan, np.float32)]
        return [4 * tensor.mean(axis=1, keepdims=True)]

    def interrupt(self) -> None:
        self.interrupted += 1
        self.stopped.set()


Serve = Callable[..., Running]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers; they end with the test."""
    running: list[Running] = []

    def start(model: Path | HeldSession, **settings: Any) -> Running:
        if isinstance(model, HeldSession):
            segmenter = Segmenter.from_session(model)
        else:
            segmenter = Segmenter(model, threads=1)
        running.append(Running(segmenter, Settings(**settings)))
        return running[-1]

    yield start
    for each in running:
        each.close()


@pytest.fixture(scope="session")
def server(model: Path) -> Iterator[Running]:
    """A server with nothing unusual about it."""
    running = Running(Segmenter(model, threads=1), Settings(max_pixels=2_000_000))
    yield running
    running.close()


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A PNG of 80 x 48: white is subject, in 20 x 24 pixels from (12, 30) on; the rest black."""
    return png(subject())


def subject() -> np.ndarray:
    image = np.zeros((48, 80, 3), np.uint8)
    image[12:36, 30:50] = 255
    return image


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)
