"""Serve this page, onnxruntime-web and one end-to-end model on loopback.

python examples/web/serve.py MODEL_END_TO_END.onnx FOLDER_OF_ORT [--port 8000] [--no-isolation]
"""

import argparse
import contextlib
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".onnx": "application/octet-stream",
    ".wasm": "application/wasm",
}
# With these two, a browser gives the page shared memory, and with it threads.
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


class Server(ThreadingHTTPServer):
    """Serves the files of a table and nothing else; port 0 takes a free one."""

    daemon_threads = True

    def __init__(self, model: Path, ort: Path, port: int = 8000, isolated: bool = True) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.headers = ISOLATION if isolated else {}
        self.files = {f"/ort/{file.name}": file for file in ort.iterdir()}
        self.files |= {
            "/": HERE / "index.html",
            **{f"/{name}": HERE / name for name in ("worker.js", "known_answer.mjs")},
        }
        self.files["/model.onnx"] = model

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    """GET and HEAD of the table's files."""

    server: Server

    def do_HEAD(self) -> Path | None:
        file = self.server.files.get(self.path.partition("?")[0])
        if file is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        state = file.stat()
        self.send_response(HTTPStatus.OK)
        for name, value in {
            "Content-Type": KINDS.get(file.suffix, "application/octet-stream"),
            "Content-Length": str(state.st_size),
            "ETag": f'"{state.st_size:x}-{state.st_mtime_ns:x}"',
            "Cache-Control": "no-cache",
            **self.server.headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        return file

    def do_GET(self) -> None:
        if file := self.do_HEAD():
            with file.open("rb") as stream:
                while part := stream.read(1 << 20):
                    self.wfile.write(part)

    def log_message(self, *arguments: Any) -> None:
        """Nothing is logged."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="as `birefnet export --end-to-end` writes it")
    parser.add_argument("ort", type=Path, help="node_modules/onnxruntime-web/dist")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--no-isolation", action="store_true", help="one thread")
    options = parser.parse_args()
    if not options.model.is_file():
        parser.error(f"there is no file {options.model}")
    with Server(options.model, options.ort, options.port, not options.no_isolation) as server:
        print(f"{server.url} (Ctrl+C ends it)")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
