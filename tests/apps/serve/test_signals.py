"""What SIGTERM and Ctrl-C do to a server in a process of its own, and what balancers see of it."""

import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest

from .conftest import PATIENCE_S, HeldSession, multipart, wait_until
from .test_bounds import REMOVEBG, start

SECONDS = 15
"""For an end that is to come at once, on a machine that is busy."""


@contextmanager
def started(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    process, port, _ = start(*arguments)
    try:
        yield process, port
    finally:
        process.kill()
        process.communicate()


def connected(port: int) -> "closing[http.client.HTTPConnection]":
    return closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S))


def asked(connection: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read()


def rest_of(process: "subprocess.Popen[str]") -> str:
    assert process.stderr
    return process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_drops_what_is_in_hand(photo, number):
    with (
        started("--size", "1024") as (process, port),
        connected(port) as watching,
        connected(port) as sending,
    ):
        wait_until(lambda: asked(watching, "/ready")[0] == 200)
        headers, body = multipart({"image_file": photo})
        sending.request("POST", REMOVEBG, body, headers)
        wait_until(lambda: b"birefnet_queue_depth 1.0" in asked(watching, "/metrics")[1])

        process.send_signal(number)
        with suppress(OSError, http.client.HTTPException):  # where the port closes at once
            wait_until(lambda: asked(watching, "/ready")[0] == 503)
        process.send_signal(number)

        assert process.wait(SECONDS) == 128 + number
        assert "Traceback" not in rest_of(process)


def test_balancers_hear_of_the_end_before_the_port_closes(photo):
    with (
        started("--drain-delay", "2", "--size", "64") as (process, port),
        connected(port) as kept,
        connected(port) as new,
    ):
        wait_until(lambda: asked(kept, "/ready")[0] == 200)
        process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        wait_until(lambda: asked(kept, "/ready") == (503, b"draining"))

        assert asked(new, "/ready")[0] == 503  # the port is open, too
        headers, body = multipart({"image_file": photo})
        kept.request("POST", REMOVEBG, body, headers)
        assert kept.getresponse().status in {200, 400}
        new.close()
        assert process.wait(PATIENCE_S) == 0
        assert time.monotonic() - told >= 1.8
        with pytest.raises(ConnectionRefusedError):
            new.connect()


@pytest.mark.parametrize("line", ["", "listening on"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_end_before_the_model_has_run_is_none_that_failed(line, number):
    """While the modules are imported (once the handlers are set), and while the model warms up."""
    ready = "import sys; sys.modules['birefnet_apps.cli.main'].signal; print('up', file=sys.stderr)"
    command = f"from birefnet_apps.cli.main import main; {ready}; main()"
    arguments = ["serve", "--port", "0", "--threads", "1", "--size", "1024", "--drain-delay", "60"]
    process = subprocess.Popen(
        [sys.executable, "-c", command, *arguments], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    try:
        while (said := process.stderr.readline()) and (line or "up") not in said:
            pass
        time.sleep(0.2)  # any moment is a good one
        process.send_signal(number)
        assert process.wait(SECONDS) == 0
        rest = rest_of(process)
        assert "Aborted" not in rest
        assert "Traceback" not in rest
    finally:
        process.kill()
        process.communicate()


def test_ctrl_c_does_not_wait_for_balancers(serve, model):
    server = serve(model, drain_delay_s=60)
    server.server._signals.ended_by = signal.SIGINT
    wait_until(lambda: not server._thread.is_alive())


def test_what_is_in_hand_is_answered_while_draining(serve, photo):
    session = HeldSession()
    server = serve(session, drain_delay_s=0)
    waiting = server.start(lambda: server.removebg(photo))
    assert session.begun.acquire(timeout=PATIENCE_S)
    server.server._signals.ended_by = signal.SIGTERM
    wait_until(lambda: server.service.draining)
    session.go.set()
    assert waiting.result().status == 200
    wait_until(lambda: not server._thread.is_alive())
