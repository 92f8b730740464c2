"""A server of the KServe v2 protocol on loopback: Triton's, as far as one tensor in and one out."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

LENGTH = "Inference-Header-Content-Length"


@contextmanager
def serving(model: str, answer: Callable[[np.ndarray], np.ndarray]) -> Iterator[str]:
    """Serve a model of uint8 tensors, with binary data as the protocol's extension has it.

    Yields:
        The server's URL.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == f"/v2/models/{model}/infer"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            start = int(self.headers[LENGTH])
            request = json.loads(body[:start])
            (tensor,), (output,) = request["inputs"], request["outputs"]
            assert tensor["datatype"] == "UINT8"
            assert output["parameters"] == {"binary_data": True}
            assert tensor["parameters"] == {"binary_data_size": len(body) - start}
            result = answer(np.frombuffer(body[start:], np.uint8).reshape(tensor["shape"]))
            outputs = [
                {
                    "name": output["name"],
                    "datatype": "UINT8",
                    "shape": result.shape,
                    "parameters": {"binary_data_size": result.nbytes},
                }
            ]
            header = json.dumps({"model_name": model, "outputs": outputs}).encode()
            self.send_response(200)
            self.send_header(LENGTH, str(len(header)))
            self.end_headers()
            self.wfile.write(header + result.tobytes())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
