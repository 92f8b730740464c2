"""Amazon's S3 on loopback: moto's server, which can be told to fail and to be slow."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

_SLOW_DOWN = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"""


class _Quiet(WSGIRequestHandler):
    def log(self, *arguments: Any) -> None:
        pass


class S3Server:
    """A server with buckets: `with S3Server() as s3`.

    Attributes:
        url: of its endpoint.
        requests: how many came, by method and whether they were answered 503.
        failing: answer 503 to the first request of each method for each path.
        slow_s: how long an answer takes at least.
        refuse: a part of paths; 503 is the answer to every request for those.
    """

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server(
            "127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.calm()

    def calm(self) -> None:
        """Serve everything, at once."""
        self.failing, self.slow_s, self.refuse = False, 0.0, ""
        self._seen: set[tuple[str, str]] = set()
        self.requests: Counter[tuple[str, str]] = Counter()

    def __enter__(self) -> "S3Server":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which everybody's programs find it, and their credentials."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "user",
            "AWS_SECRET_ACCESS_KEY": "password",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @contextmanager
    def named_by_environment(self) -> Iterator[None]:
        """Set those variables for this process and those that it starts."""
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        method = environ["REQUEST_METHOD"]
        kind = (method, environ["PATH_INFO"])
        with self._lock:
            fails = self.failing and kind not in self._seen
            self._seen.add(kind)
            fails = fails or bool(self.refuse and self.refuse in environ["PATH_INFO"])
            self.requests[method, "503" if fails else "served"] += 1
        time.sleep(self.slow_s)
        if not fails:
            return self._app(environ, start_response)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(_SLOW_DOWN)))]
        start_response("503 Slow Down", headers)
        return [b"" if method == "HEAD" else _SLOW_DOWN]
