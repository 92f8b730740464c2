"""A server is ready once its model's known answer was found right here, and not before."""

import http.client
import os
import socket
import subprocess
import sys
from contextlib import closing, suppress

import pytest

from .conftest import PATIENCE_S, wait_until

COMMAND = """
from birefnet_runtime.session.ort_session import OpenSession
real = OpenSession._run
OpenSession._run = lambda *a: [{factor} * each for each in real(*a)]
from birefnet_apps.cli.main import main
main()
"""


@pytest.mark.parametrize(("factor", "right"), [(1, True), (0.5, False)])
def test_a_model_that_answers_wrong_is_never_ready(tmp_path, factor, right):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    seen: set[int] = set()

    def look() -> None:
        with (
            suppress(OSError, http.client.HTTPException),
            closing(http.client.HTTPConnection("127.0.0.1", port, timeout=0.5)) as connection,
        ):
            connection.request("GET", "/ready")
            seen.add(connection.getresponse().status)

    def is_over() -> bool:
        look()
        return 200 in seen or process.poll() is not None

    process = subprocess.Popen(
        [
            *(sys.executable, "-c", COMMAND.format(factor=factor), "serve", "--model", "nano"),
            *("--port", str(port), "--threads", "1", "--no-compiled", "--drain-delay", "0"),
        ],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "BIREFNET_CACHE": str(tmp_path)},  # no answer was right here before
    )
    assert process.stderr
    try:
        wait_until(is_over)
        process.terminate()
        code, said = process.wait(PATIENCE_S), process.stderr.read()
    finally:
        process.kill()
        process.communicate()
    assert (200 in seen, code == 0) == (right, right)
    assert ("wrong" in said) is not right
    assert "Traceback" not in said
