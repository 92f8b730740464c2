"""Bounds of a running server: what is too large, too slow, too much, or given up."""

import http.client
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from birefnet_apps.serve import connection as connection_module
from birefnet_apps.serve import runner as runner_module
from birefnet_apps.serve.job import Reply
from birefnet_runtime.cutout.mask import Subject

from .conftest import PATIENCE_S, HeldSession, Running, multipart, png, subject, wait_until

REMOVEBG = "/v1.0/removebg"


def counted(server: Running) -> tuple[int, int, int]:
    service = server.service
    return service._queue.count, service._queue.pixels, service._held.bytes


def free(server: Running) -> bool:
    return counted(server) == (0, 0, 0)


def head(server: Running, body_length: int, more: str = "") -> bytes:
    return (
        f"POST {REMOVEBG} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {body_length}\r\n"
        f"Content-Type: multipart/form-data; boundary=a7d1f\r\n{more}\r\n"
    ).encode()


def opened(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)


def status_of(connection: socket.socket) -> int:
    response = http.client.HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(serve, model, photo, chunked):
    server = serve(model, max_upload_bytes=2_000)
    headers, body = multipart({"image_file": photo + bytes(4_000)})
    sent = iter([body[:100], body[100:]]) if chunked else body

    answer = server.request("POST", REMOVEBG, sent, headers, encode_chunked=chunked)

    assert (answer.status, answer.code()) == (413, "file_too_large")
    assert answer.headers["Connection"] == "close"
    wait_until(lambda: free(server))
    assert server.removebg(photo).status == 200


def test_small_chunks_are_counted_together(serve, model):
    server = serve(model, max_upload_bytes=2_000)
    headers, _ = multipart({})
    answer = server.request("POST", REMOVEBG, iter([bytes(100)] * 40), headers, encode_chunked=True)
    assert (answer.status, answer.code()) == (413, "file_too_large")


def test_a_body_of_gigabytes_is_refused_before_it_comes(serve, model):
    server = serve(model, max_upload_bytes=2_000)
    with opened(server) as connection:
        connection.sendall(head(server, 10**12) + bytes(20_000))
        assert status_of(connection) == 413


def test_a_body_must_arrive_in_time(serve, model, photo):
    server = serve(model, timeout_s=0.3)
    _, body = multipart({"image_file": photo})
    with opened(server) as connection:
        connection.sendall(head(server, len(body)) + body[:-10])
        assert status_of(connection) == 408
        assert connection.recv(1) == b""  # closed
    wait_until(lambda: free(server))


def test_slow_senders_hold_no_place(serve, model, photo):
    server = serve(model, queue=1)
    _, body = multipart({"image_file": photo})
    slow = [opened(server) for _ in range(8)]
    for connection in slow:
        connection.sendall(head(server, len(body)) + body[:100])
    wait_until(lambda: counted(server)[2] >= 800)

    assert server.removebg(photo).status == 200

    for connection in slow:
        connection.close()
    wait_until(lambda: free(server))


def test_bodies_together_are_bounded(serve, model, photo):
    server = serve(model, max_upload_bytes=10_000)
    slow = [opened(server) for _ in range(9)]
    for connection in slow[:8]:
        connection.sendall(head(server, 10_000) + bytes(9_900))
    wait_until(lambda: counted(server)[2] == 8 * 9_900)

    refused = server.removebg(photo + bytes(5_000))

    assert (refused.status, refused.code()) == (503, "busy")
    assert refused.headers["Retry-After"]
    for connection in slow:
        connection.close()
    wait_until(lambda: free(server))


def test_a_full_queue_says_when_to_come_again(serve, photo):
    session = HeldSession()
    server = serve(session, queue=3)
    waiting = [server.start(lambda: server.removebg(photo)) for _ in range(3)]
    wait_until(lambda: counted(server)[0] == 3)

    refused = server.removebg(photo)

    assert (refused.status, refused.code()) == (503, "queue_full")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert server.get("/health").status == 200
    assert "birefnet_queue_depth 3.0" in server.get("/metrics").content.decode()
    session.go.set()
    assert [each.result().status for each in waiting] == [200, 200, 200]
    wait_until(lambda: free(server))


def test_pixels_under_way_are_bounded(serve, photo):
    session = HeldSession()
    server = serve(session, max_pixels=4_000)  # the photograph has 3,840
    waiting = [server.start(lambda: server.removebg(photo)) for _ in range(4)]
    wait_until(lambda: counted(server)[1] == 4 * 3_840)

    assert server.removebg(photo).code() == "queue_full"

    session.go.set()
    assert [each.result().status for each in waiting] == [200] * 4


def test_what_takes_too_long_is_given_up(serve, photo):
    session = HeldSession()
    server = serve(session, timeout_s=0.3)

    late = server.removebg(photo)

    assert (late.status, late.code()) == (503, "timeout")
    assert late.headers["Retry-After"]
    wait_until(lambda: free(server))
    assert session.interrupted == len(session.batches)  # none, if it came no farther in that time


def test_a_client_that_leaves_the_queue_frees_its_place(serve, photo):
    session = HeldSession()
    server = serve(session, queue=3)
    first = server.start(lambda: server.removebg(photo))
    assert session.begun.acquire(timeout=PATIENCE_S)
    _, body = multipart({"image_file": photo})
    leaving = [opened(server) for _ in range(2)]
    for connection in leaving:
        connection.sendall(head(server, len(body)) + body)
    wait_until(lambda: counted(server)[0] == 3)

    for connection in leaving:
        connection.close()

    wait_until(lambda: counted(server)[0] == 1)
    session.go.set()
    assert first.result().status == 200
    assert session.batches == [1]  # theirs never ran


def test_a_run_that_nobody_waits_for_is_ended(serve, photo, caplog):
    session = HeldSession()
    server = serve(session)
    _, body = multipart({"image_file": photo})
    with caplog.at_level(logging.INFO, "birefnet.serve"), opened(server) as connection:
        connection.sendall(head(server, len(body)) + body)
        assert session.begun.acquire(timeout=PATIENCE_S)
        connection.close()
        wait_until(lambda: session.interrupted == 1)
        wait_until(lambda: free(server))
        wait_until(lambda: "POST /v1.0/removebg 499" in caplog.text)

    assert "birefnet_runs_interrupted_total 1.0" in server.get("/metrics").content.decode()
    session.go.set()
    assert server.removebg(photo).status == 200


def test_a_real_run_can_be_ended_and_the_next_is_right(serve, photo):
    """ONNX Runtime's own: the session is sound afterwards."""
    import threading

    from birefnet_runtime import Interrupted, ModelError, Segmenter

    segmenter = Segmenter("nano", threads=1)
    tensor = np.random.default_rng(0).random((1, 3, 1024, 1024), np.float32)
    small = tensor[..., :192, :192].copy()
    expected = segmenter.logits(small)
    failures: list[Exception] = []

    def run() -> None:
        try:
            segmenter.logits(tensor)
        except (Interrupted, ModelError) as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        segmenter.interrupt()
        time.sleep(0.01)
    thread.join()

    assert [type(failure) for failure in failures] == [Interrupted]
    assert np.array_equal(segmenter.logits(small), expected)


def test_what_waits_goes_through_together(serve, photo):
    session = HeldSession()
    server = serve(session, batch=3)
    first = server.start(lambda: server.removebg(photo))
    assert session.begun.acquire(timeout=PATIENCE_S)
    others = [server.start(lambda: server.removebg(photo)) for _ in range(3)]
    wait_until(lambda: len(server.service._runner._ready) == 3)

    session.go.set()

    assert {each.result().status for each in (first, *others)} == {200}
    assert session.batches == [1, 3]  # never waited for more, joined what waited


def test_one_bad_picture_of_a_batch_fails_alone(serve, photo):
    session = HeldSession()
    session.fail_on = lambda tensor: bool((tensor.mean(axis=(1, 2, 3)) > 1.5).any())
    server = serve(session, batch=2)
    first = server.start(lambda: server.removebg(photo))
    assert session.begun.acquire(timeout=PATIENCE_S)
    white = png(np.full((48, 80, 3), 255, np.uint8))
    both = [server.start(lambda image=image: server.removebg(image)) for image in (photo, white)]
    wait_until(lambda: len(server.service._runner._ready) == 2)

    session.go.set()

    assert first.result().status == 200
    assert [each.result().status for each in both] == [200, 500]


def test_a_connection_must_say_what_it_wants(serve, model, monkeypatch):
    monkeypatch.setattr(connection_module, "HEADER_TIMEOUT_S", 0.2)
    server = serve(model)
    for said in (b"", b"GET /health HTTP/1.1\r\nX-Slow: "):
        with opened(server) as connection, suppress(ConnectionResetError):
            connection.sendall(said)
            assert connection.recv(1) == b""


def test_a_client_that_takes_nothing_is_cut_off(serve, model, photo, monkeypatch):
    monkeypatch.setattr(connection_module, "STALL_TIMEOUT_S", 0.3)
    subject = Subject(found=True, box=(0, 0, 9, 9), share=0.5)
    large = Reply(bytes(30_000_000), "png", (48, 80), subject)  # no socket's buffer holds it
    monkeypatch.setattr(runner_module, "make_answer", lambda *_: large)
    server = serve(model)
    _, body = multipart({"image_file": photo})
    with opened(server) as connection:
        connection.sendall(head(server, len(body)) + body)
        wait_until(lambda: counted(server)[2] >= 30_000_000)
        wait_until(lambda: free(server))
    wait_until(lambda: not server.server.server_state.connections)


def test_chunks_of_a_byte_are_not_put_up_with(serve, model):
    server = serve(model)
    with opened(server) as connection:
        connection.sendall(
            f"POST {REMOVEBG} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        wait_until(lambda: len(server.server.server_state.tasks) == 1)
        with pytest.raises(OSError):  # noqa: PT011, PT012  reset or a broken pipe
            for _ in range(1_000):
                connection.sendall(b"1\r\nx\r\n" * 10_000)


def test_a_limit_of_memory_holds_for_pictures(serve, model, photo):
    asked = []
    server = serve(
        model,
        memory_left=120e6,
        max_upload_bytes=1_000_000,
        what_fits=lambda taken: asked.append(taken) or "it fits with --size 64",
    )
    large = png(np.zeros((3000, 3000, 3), np.uint8))

    refused = server.removebg(large)

    assert (refused.status, refused.code()) == (413, "resolution_too_high")
    assert all(word in refused.title() for word in ("smaller", "--size 64"))
    assert 120e6 < asked[0] < 1e9
    assert server.removebg(photo).status == 200


def start(*arguments: str, **variables: str) -> tuple[subprocess.Popen[str], int, list[str]]:
    """The command in a process of its own: it, its port, and its lines until it listens."""
    command = "from birefnet_apps.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "serve", "--port", "0", "--threads", "1", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    )
    assert process.stderr
    lines: list[str] = []
    while not lines or "listening on" not in lines[-1]:
        lines.append(process.stderr.readline())
        assert lines[-1], lines
    (port,) = re.findall(r"listening on http://127.0.0.1:(\d+)", lines[-1])
    return process, int(port), lines


@pytest.mark.slow
def test_sigterm_answers_what_is_in_hand_and_ends_with_0(photo):
    process, port, _ = start("--size", "512", "--json-logs", "--drain-delay", "0")
    assert process.stderr
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    other = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        while '"message": "ready' not in process.stderr.readline():
            pass
        headers, body = multipart({"image_file": photo})
        connection.request("POST", REMOVEBG, body, headers)
        while True:  # until it is in hand
            other.request("GET", "/metrics")
            if b"birefnet_queue_depth 1.0" in other.getresponse().read():
                break
        process.send_signal(signal.SIGTERM)
        with pytest.raises(OSError):  # noqa: PT011, PT012  refused or reset
            for _ in range(1_000):
                socket.create_connection(("127.0.0.1", port), 10).close()
                time.sleep(0.005)

        response = connection.getresponse()
        assert (response.status, len(response.read()) > 100) == (200, True)
        assert process.wait(60) == 0
        records = [json.loads(line) for line in process.stderr.read().splitlines()]
        (request,) = [r for r in records if r.get("path") == REMOVEBG]
        assert request["status"] == 200
        assert request["run_s"] > 0
    finally:
        process.kill()
        process.communicate()
        connection.close()
        other.close()


def test_readiness_ends_where_draining_begins(serve, model):
    server = serve(model)
    assert server.get("/ready").status == 200

    server.service.draining = True

    assert server.get("/ready").status == 503
    assert server.get("/health").status == 200


def test_a_model_that_can_t_run_ends_the_server():
    from birefnet_apps.serve.listening import listen
    from birefnet_apps.serve.server import serve
    from birefnet_apps.serve.settings import Settings
    from birefnet_runtime import ModelError, Segmenter

    session = HeldSession()
    segmenter = Segmenter.from_session(session)  # type: ignore[arg-type]

    def fail(*_: Any) -> Any:
        raise RuntimeError("no device\nat all")

    session.run = fail  # type: ignore[method-assign]
    with (
        listen("127.0.0.1", 0) as opened,
        pytest.raises(ModelError, match=r"run the model: no device$"),
    ):
        serve(segmenter, Settings(), "made", opened)


def test_the_test_s_own_subject_is_where_it_says():
    assert subject()[12:36, 30:50].min() == 255
