"""A server of the page that answers as `birefnet serve` does, and as it does at bad times."""

import base64
import email.policy
import hashlib
import io
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

PAGE = Path(__file__).parents[2] / "runtime/birefnet_apps/serve/page.html"
INFO: dict[str, Any] = {
    "model": "nano",
    "provider": "cpu",
    "size": "192x192",
    "version": "0.0.0",
    "max_megapixels": 50,
    "max_upload_bytes": 1_000_000,
    "needs_key": False,
    "formats": ["png", "jpg"],
}


def policy(page: str) -> str:
    """The strictest policy that the page runs under."""
    sources = []
    for name in ("script", "style"):
        (text,) = re.findall(rf"<{name}>(.*?)</{name}>", page, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        sources.append(f"{name}-src 'sha256-{digest}'")
    return "; ".join(
        (
            *("default-src 'none'", *sources, "img-src 'self' blob: data:", "connect-src 'self'"),
            *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
        )
    )


def cutout(picture: bytes) -> bytes:
    """A PNG of the picture's size, of which an ellipse is left."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    alpha = Image.new("L", image.size)
    ImageDraw.Draw(alpha).ellipse((0, 0, *image.size), fill=255)
    image.putalpha(alpha)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    server: "Stub"

    def log_message(self, *arguments: Any) -> None:
        pass

    def answer(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, title: str, **headers: str) -> None:
        body = json.dumps({"errors": [{"title": title, "code": "a_code"}]}).encode()
        self.answer(status, "application/json", body, **headers)

    def do_GET(self) -> None:
        page = PAGE.read_text(encoding="utf-8")
        if self.path == "/":
            headers = {"Content_Security_Policy": policy(page)}
            self.answer(200, "text/html; charset=utf-8", page.encode(), **headers)
        elif self.path == "/v1/info":
            self.answer(200, "application/json", json.dumps(self.server.info).encode())
        else:
            self.refuse(404, "no such address")

    def do_POST(self) -> None:
        assert self.path == "/v1.0/removebg"
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        message: Any = BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        fields = {
            part.get_param("name", header="content-disposition"): part
            for part in message.iter_parts()
        }
        assert {
            name: part.get_content() for name, part in fields.items() if name != "image_file"
        } == {
            "size": "full",
            "format": "png",
        }
        name = fields["image_file"].get_filename()
        with self.server.counting(name):
            if self.server.info["needs_key"] and self.headers["X-Api-Key"] != "secret":
                self.refuse(403, "the key is wrong")
            elif name.startswith("busy") and self.server.asked.count(name) < 2:
                self.refuse(503, "the queue is full", Retry_After="1")
            elif name.startswith("slow") and not self.server.go_on.wait(30):
                self.refuse(500, "the test forgot to go on")
            elif "<" in name or name.startswith("bad"):
                self.refuse(400, f"{name} is not a picture")
            else:
                self.answer(200, "image/png", cutout(fields["image_file"].get_content()))


class Stub(ThreadingHTTPServer):
    """Loopback only; remembers whose pictures were asked for and how many at a time."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.forget()

    def forget(self) -> None:
        """As if it had just begun."""
        self.info = dict(INFO)
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0
        self.go_on = threading.Event()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    @contextmanager
    def counting(self, name: str) -> Iterator[None]:
        with self.lock:
            self.asked.append(name)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield
        finally:
            with self.lock:
                self.at_once -= 1


@contextmanager
def serving() -> Iterator[Stub]:
    with Stub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
