"""What a connection may hold open, and what of an answer has left."""

import http.client
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from birefnet_apps.serve import app as app_module
from birefnet_apps.serve import connection as connection_module
from birefnet_apps.serve import runner as runner_module
from birefnet_apps.serve.job import Reply
from birefnet_runtime.cutout.mask import Subject

from .conftest import HeldSession, Running, multipart, wait_until
from .test_bounds import REMOVEBG, counted, free, head, opened, status_of

LARGE = 3_000_000


@pytest.fixture
def large(serve, model, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Running]:
    """Servers whose answers have LARGE bytes."""

    def make(*_: Any) -> Reply:
        return Reply(bytes(LARGE), "png", (48, 80), Subject(found=True, box=(0, 0, 9, 9), share=1))

    monkeypatch.setattr(runner_module, "make_answer", make)
    return lambda **settings: serve(model, **settings)


@contextmanager
def asking(server: Running, photo: bytes) -> Iterator[socket.socket]:
    """A connection whose client has sent a picture and reads with a small buffer."""
    body = multipart({"image_file": photo})[1]
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(head(server, len(body)) + body)
        yield connection


def line_of(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """What was logged of the one picture."""

    def found() -> list[dict[str, Any]]:
        records = [getattr(record, "record", None) for record in caplog.records]
        return [record.as_dict() for record in records if record and record.path == REMOVEBG]

    wait_until(lambda: bool(found()))
    return found()[0]


def read_slowly(connection: socket.socket, rate: int, pause_s: float = 0.05) -> int:
    """Read to the answer's end; bytes in all, its head among them."""
    count = 0
    while count < LARGE:
        piece = connection.recv(round(rate * pause_s))
        if not piece:
            break
        count += len(piece)
        time.sleep(pause_s)
    return count


def test_a_client_that_reads_slowly_gets_all_of_it(large, photo, monkeypatch, caplog):
    """It takes several times as long as one may take nothing, and as the timeout."""
    monkeypatch.setattr(connection_module, "STALL_TIMEOUT_S", 0.6)
    server = large(timeout_s=1)
    with caplog.at_level(logging.INFO, "birefnet.serve"), asking(server, photo) as connection:
        assert read_slowly(connection, 1_000_000) >= LARGE
        line = line_of(caplog)
    assert (line["status"], line["bytes_out"]) == (200, LARGE)
    assert line["seconds"] > 2
    wait_until(lambda: free(server))


@pytest.mark.parametrize("kind", ["takes nothing", "takes it too slowly", "leaves"])
def test_what_was_sent_is_what_is_logged(large, photo, monkeypatch, caplog, kind):
    if kind == "takes nothing":
        monkeypatch.setattr(connection_module, "STALL_TIMEOUT_S", 0.5)
    elif kind == "takes it too slowly":
        monkeypatch.setattr(app_module, "SLOWEST", 10 * LARGE)
    server = large(timeout_s=60 if kind == "leaves" else 0.5)
    with caplog.at_level(logging.INFO, "birefnet.serve"), asking(server, photo) as connection:
        taken = len(connection.recv(65_536, socket.MSG_WAITALL))
        if kind == "leaves":
            connection.close()
        line = line_of(caplog)
        with suppress(OSError):
            while kind != "leaves" and (piece := connection.recv(1 << 20)):
                taken += len(piece)
    assert "without completing" not in caplog.text  # cut off, and not let go
    assert line["status"] == 499
    assert abs(line["bytes_out"] - taken) < 300_000  # of LARGE; in buffers on the way
    assert 'code="499"' in server.get("/metrics").content.decode()


@pytest.mark.parametrize("path", ["/health", "/nowhere", REMOVEBG])
def test_two_lengths_end_the_connection(server, path):
    request = (
        f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/info HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    with opened(server) as connection:
        connection.sendall(request.encode())
        said = b""
        while piece := connection.recv(65_536):
            said += piece
    assert said.count(b"HTTP/1.1 ") == 1
    assert b"\r\nconnection: close\r\n" in said.lower()


@pytest.mark.parametrize("path", ["/health/", "/v1/info/", "/metrics/", "/v1.0/account/"])
def test_a_slash_more_is_no_other_address(server, path):
    assert server.get(path).status == 200


def test_a_picture_with_a_slash_more_is_answered_and_nothing_is_redirected(server, photo):
    assert server.post(f"{REMOVEBG}/", {"image_file": photo}).status == 200
    assert server.post("/api/remove/", {"file": photo}).status == 200
    for path in ("/nowhere/", "/v1.0/", "//other.example/", "/health//"):
        answer = server.get(path, Host="other.example")
        assert (answer.status, answer.headers["Location"]) == (404, None)


def test_a_key_is_needed_with_a_slash_more_too(serve, model):
    server = serve(model, keys=(b"k",))
    assert [server.get(path).status for path in ("/metrics/", "/health/")] == [403, 200]


def test_connections_that_are_idle_make_room(serve, model, monkeypatch):
    monkeypatch.setattr(connection_module, "MOST_CONNECTIONS", 4)
    server = serve(model)
    with ExitStack() as stack:
        idle = [stack.enter_context(opened(server)) for _ in range(4)]
        wait_until(lambda: len(server.server.server_state.connections) == 4)

        assert server.get("/health").status == 200

        assert idle[0].recv(1) == b""  # the oldest
        for connection in idle[1:]:
            connection.sendall(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")
            assert status_of(connection) == 200


def test_requests_on_all_connections_leave_some_for_questions(serve, model, photo, monkeypatch):
    monkeypatch.setattr(connection_module, "MOST_CONNECTIONS", 4)
    monkeypatch.setattr(connection_module, "SPARE_CONNECTIONS", 1)
    server = serve(model)
    with ExitStack() as stack:
        slow = [stack.enter_context(opened(server)) for _ in range(4)]
        for connection in slow:
            connection.sendall(head(server, 1_000) + bytes(100))
        wait_until(lambda: counted(server)[2] == 400)

        assert server.get("/health").status == server.get("/ready").status == 200
        refused = server.removebg(photo)
        assert (refused.status, refused.code()) == (503, "busy")
        extra = stack.enter_context(opened(server))
        extra.sendall(head(server, 1_000) + bytes(100))
        assert status_of(extra) == 503
    wait_until(lambda: not server.server.server_state.connections)
    assert server.removebg(photo).status == 200


@pytest.mark.parametrize(("keep_alive_s", "kept"), [(0.2, False), (60, True)])
def test_a_connection_is_kept_for_as_long_as_is_said(serve, model, keep_alive_s, kept):
    server = serve(model, keep_alive_s=keep_alive_s)
    with opened(server) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        assert status_of(connection) == 200
        connection.settimeout(1)
        if kept:
            with pytest.raises(TimeoutError):
                connection.recv(1)
        else:
            assert connection.recv(1) == b""


def test_the_next_request_of_a_connection_must_be_said_in_time_too(serve, model, monkeypatch):
    monkeypatch.setattr(connection_module, "HEADER_TIMEOUT_S", 0.3)
    server = serve(model, keep_alive_s=60)
    with opened(server) as connection, suppress(ConnectionResetError):
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        assert status_of(connection) == 200
        connection.settimeout(20)
        connection.sendall(b"GET /health HTT")
        assert connection.recv(1) == b""


@pytest.mark.parametrize("status", [503, 429])
def test_a_full_server_says_so_as_is_wanted(serve, photo, status):
    session = HeldSession()
    server = serve(session, queue=1, busy_status=status)
    waiting = server.start(lambda: server.removebg(photo))
    wait_until(lambda: counted(server)[0] == 1)

    for path, name in ((REMOVEBG, "image_file"), ("/api/remove", "file")):
        refused = server.post(path, {name: photo})
        assert refused.status == status
        assert int(refused.headers["Retry-After"]) >= 1
    session.go.set()
    assert waiting.result().status == 200


@pytest.mark.parametrize("size", [65_535, 65_536, 131_072])
def test_an_answer_of_any_length_ends(serve, model, photo, monkeypatch, size):
    answer = Reply(bytes(size), "png", (9, 9), Subject(found=True, box=(0, 0, 9, 9), share=1))
    monkeypatch.setattr(runner_module, "make_answer", lambda *_: answer)
    server = serve(model)
    connection = server.connect()
    headers, body = multipart({"image_file": photo})
    for _ in range(2):  # on one connection
        connection.request("POST", REMOVEBG, body, headers)
        assert len(connection.getresponse().read()) == size
    connection.close()


def test_what_two_threads_of_clients_do_with_one_address_is_not_mixed(server, photo):
    """Answers wait until they are taken; one slow client keeps no other waiting."""
    expected = server.removebg(photo).content
    with asking(server, photo) as slow:
        results: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: results.append(server.removebg(photo).content))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        response = http.client.HTTPResponse(slow)
        response.begin()
        assert {*results, response.read()} == {expected}


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize("path", ["/health", REMOVEBG, "/nowhere"])
def test_a_body_that_is_no_http_is_refused_once(server, caplog, method, path):
    """The parser's 400 is the answer: none of ours comes after it, nor a traceback in the log."""
    with opened(server) as connection:
        lines = (f"{method} {path} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked", "", "ZZ", "")
        connection.sendall("\r\n".join(lines).encode())
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    wait_until(lambda: not server.server.server_state.tasks)
    assert not [record for record in caplog.records if record.exc_info]
