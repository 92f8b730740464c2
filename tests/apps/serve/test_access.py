"""Where a server listens, whom it believes, what it calls a request, and which keys open it."""

import http.client
import json
import logging
import os
import signal
import socket
import stat
import threading

import pytest
from birefnet_apps.serve.app import Service
from birefnet_apps.serve.listening import address_of, is_local, listen, listen_unix
from birefnet_apps.serve.server import Signals, make_server
from birefnet_apps.serve.settings import Proxies, Settings, read_keys
from birefnet_runtime import Segmenter
from birefnet_runtime.errors import ServeError

from .conftest import PATIENCE_S, multipart, wait_until
from .test_bounds import REMOVEBG


def addresses(*hosts):
    """A name that has some addresses."""
    families = {True: socket.AF_INET6, False: socket.AF_INET}
    return lambda *_, **__: [
        (families[":" in host], socket.SOCK_STREAM, 6, "", (host, 0)) for host in hosts
    ]


def test_every_address_of_a_name_is_listened_at(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", addresses("127.0.0.1", "127.0.0.2", "127.0.0.1"))
    with listen("localhost", 0) as opened:
        names = [each.getsockname() for each in opened]
        assert [host for host, _ in names] == ["127.0.0.1", "127.0.0.2"]
        assert len({port for _, port in names}) == 1
    assert all(each.fileno() == -1 for each in opened)


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
def test_localhost_is_ipv4_and_ipv6(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", addresses("::1", "127.0.0.1"))
    with listen("localhost", 0) as opened:
        families = {each.family for each in opened}
    assert socket.AF_INET in families
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no address ::1, so that one alone is listened at")
    assert socket.AF_INET6 in families


def test_an_address_that_the_machine_lacks_is_left_out(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", addresses("192.0.2.1", "127.0.0.1"))
    with listen("localhost", 0) as opened:
        assert [each.getsockname()[0] for each in opened] == ["127.0.0.1"]
    monkeypatch.setattr(socket, "getaddrinfo", addresses("192.0.2.1"))
    with pytest.raises(ServeError, match="can't listen there"), listen("other", 0):
        pass


def test_a_unix_socket(model, photo, tmp_path, caplog):
    path = tmp_path / "s.sock"
    settings = Settings(proxies=Proxies.parse("unix"))
    with listen_unix(path) as opened, caplog.at_level(logging.INFO, "birefnet.serve"):
        assert (address_of(opened[0]), is_local(opened[0])) == (f"unix:{path}", True)
        service = Service(Segmenter(model, threads=1), settings, "made")
        server = make_server(service, settings)
        thread = threading.Thread(target=server.run, args=(opened,))
        thread.start()
        try:
            wait_until(lambda: service.ready)
            connection = http.client.HTTPConnection("a")
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(PATIENCE_S)
            connection.sock.connect(str(path))
            headers, body = multipart({"image_file": photo})
            connection.request("POST", REMOVEBG, body, {**headers, "X-Forwarded-For": "192.0.2.7"})
            answer = connection.getresponse()
            assert (answer.status, len(answer.read()) > 100) == (200, True)
            connection.close()
            with pytest.raises(ServeError, match="in use"), listen_unix(path):
                pass
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)
    assert "192.0.2.7 POST" in caplog.text
    assert not path.exists()


def test_a_socket_that_was_left_behind_is_replaced_and_nothing_else(tmp_path):
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with listen_unix(path):
        assert stat.S_ISSOCK(path.stat().st_mode)
    assert not path.exists()
    path.write_text("mine")
    with pytest.raises(ServeError, match="can't listen there"), listen_unix(path):
        pass
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "client"),
    [
        ("", "127.0.0.1", ["192.0.2.7"], "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        ("127.0.0.1", "198.51.100.1", ["192.0.2.7"], "198.51.100.1"),
        ("127.0.0.1", "127.0.0.1", ["6.6.6.6, 192.0.2.7"], "192.0.2.7"),  # the client's own word
        ("127.0.0.1,10.0.0.0/8", "127.0.0.1", ["6.6.6.6, 192.0.2.7", "10.1.2.3"], "192.0.2.7"),
        ("*", "198.51.100.1", ["192.0.2.7, 10.0.0.1"], "192.0.2.7"),
        ("127.0.0.1", "127.0.0.1", ["192.0.2.7:5000"], "192.0.2.7"),
        ("127.0.0.1", "127.0.0.1", ["[2001:db8::1]:80"], "2001:db8::1"),
        ("127.0.0.1", "::ffff:127.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("::1", "::1", ["unknown"], "::1"),
        ("127.0.0.1", "127.0.0.1", ["192.0.2.7, evil\x1b[31m"], "127.0.0.1"),
        ("unix", None, ["192.0.2.7"], "192.0.2.7"),
        ("127.0.0.1", None, ["192.0.2.7"], "-"),
        ("*", None, [], "-"),
    ],
)
def test_proxies_are_believed_as_far_as_they_are_named(trusted, peer, forwarded, client):
    assert Proxies.parse(trusted).client(peer, forwarded) == client


def test_a_request_has_a_name(server, photo, caplog):
    with caplog.at_level(logging.INFO, "birefnet.serve"):
        given = server.post(REMOVEBG, {"image_file": photo}, {"X-Request-ID": "a-7.b/c=1"})
        made = {server.get(path).headers["X-Request-ID"] for path in ("/health", "/nowhere")}
        wait_until(lambda: len(caplog.records) >= 3)
    assert given.headers["X-Request-ID"] == "a-7.b/c=1"
    assert "request_id=a-7.b/c=1" in caplog.text
    assert len(made) == 2
    for name in made:
        assert len(name) == 32
        assert f"request_id={name}" in caplog.text


@pytest.mark.parametrize("insane", ["a b", 'a"b', "a\x1bb", "é", "x" * 129, "a,b", "\\n"])
def test_a_name_that_can_not_stand_in_a_log_is_replaced(server, insane):
    answer = server.get("/health", **{"X-Request-ID": insane})
    assert len(answer.headers["X-Request-ID"]) == 32


def test_keys_are_read_again(serve, model, tmp_path, caplog):
    path = tmp_path / "keys.txt"
    path.write_text("# ours\nfirst\n  # indented\n\t second \n")
    assert read_keys(path) == (b"first", b"second")
    server = serve(model, keys=read_keys(path), key_file=path)

    def opens(key: str) -> bool:
        return server.get("/metrics", **{"X-Api-Key": key}).status == 200

    assert (opens("first"), opens("third"), opens("# indented")) == (True, False, False)
    with caplog.at_level(logging.INFO, "birefnet.serve"):
        path.write_text("third\n")
        server.server._signals.reload = True
        wait_until(lambda: opens("third"))
        assert not opens("first")
        path.write_text("# none\n")
        server.server._signals.reload = True
        wait_until(lambda: "stay as they were" in caplog.text)
        assert opens("third")
    assert server.get("/v1/info").json()["needs_key"] is True


def test_sighup_asks_for_the_keys_and_a_closed_terminal_for_an_end():
    with Signals() as signals:
        signals.serving = True
        os.kill(os.getpid(), signal.SIGHUP)
        assert (signals.reload, signals.ended_by) == (True, 0)

    main, terminal = os.openpty()
    with Signals() as signals:
        signals.serving = True
        signals._terminals = [terminal]
        os.close(main)
        os.kill(os.getpid(), signal.SIGHUP)
        assert (signals.reload, signals.ended_by) == (False, signal.SIGHUP)
    os.write(terminal, b"nowhere")  # no error any more
    os.close(terminal)


def test_json_logs_have_the_name(server, caplog):
    from birefnet_apps.serve.access import _JsonLines

    with caplog.at_level(logging.INFO, "birefnet.serve"):
        server.get("/health", **{"X-Request-ID": "mine"})
        wait_until(lambda: bool(caplog.records))
    assert json.loads(_JsonLines().format(caplog.records[0]))["request_id"] == "mine"
