"""A server whose model is still opening says so, and then leaves its sockets to the server."""

import http.client
import socket
from contextlib import closing

import pytest
from birefnet_apps.serve.listening import answering


@pytest.fixture
def opened():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def ask(opened: socket.socket, method: str, path: str, body: bytes | None = None):
    port = opened.getsockname()[1]
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.headers["Retry-After"], answer.read()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("HEAD", "/health?x", 200),
        ("GET", "/ready", 503),
        ("GET", "/", 503),
        ("POST", "/v1.0/removebg", 503),
    ],
)
def test_it_is_alive_and_not_ready(opened, method, path, status):
    with answering([opened]):
        found, retry, text = ask(opened, method, path, b"picture" if method == "POST" else None)

    assert found == status
    assert (retry is not None) == (status == 503)
    assert bool(text) == (method != "HEAD")


def test_who_says_nothing_or_nonsense_does_not_keep_others_waiting_for_long(opened):
    with answering([opened]), socket.create_connection(opened.getsockname()) as silent:
        with socket.create_connection(opened.getsockname()) as other:
            other.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
            assert ask(opened, "GET", "/ready")[0] == 503
        silent.settimeout(10)
        assert silent.recv(100) == b"", "closed"


def test_a_unix_socket_answers_too(tmp_path):
    path = str(tmp_path / "birefnet.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        with answering([listening]), socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 503 " in client.recv(1000)


def test_afterwards_the_socket_is_the_servers(opened):
    with answering([opened]):
        pass
    with socket.create_connection(opened.getsockname()) as client:
        opened.settimeout(10)
        accepted, _ = opened.accept()
        with accepted:
            accepted.sendall(b"ours")
            assert client.recv(4) == b"ours"
