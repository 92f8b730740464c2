"""The study of the server: clients that tell right answers from wrong ones, and its table."""

import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from studies.service import serve_bad_paths
from studies.service.serve import markdown_table, summary
from studies.service.serve_bad_paths import flatness, measure_bad_paths
from studies.service.serve_load import Tally, Target, run_all, run_clients, send_good
from studies.service.serve_processes import Plan


@pytest.fixture
def answers():
    """A server that answers as it is told."""
    told = {"status": 200, "content": b"right"}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(told["status"])
            self.send_header("Content-Length", str(len(told["content"])))
            self.end_headers()
            self.wfile.write(told["content"])

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Target(server.server_address[1], "/", "file", "some"), told
    server.shutdown()
    thread.join()
    server.server_close()


def test_answers_are_told_apart(answers):
    target, told = answers
    body, tally = target.form(b"picture"), Tally()
    assert b'name="model"\r\n\r\nsome\r\n' in body

    for status, content in ((200, b"right"), (200, b"wrong"), (503, b""), (500, b"")):
        told |= {"status": status, "content": content}
        send_good(target, body, b"right", tally)

    assert dict(tally.outcomes) == {"good 200": 2, "good 503": 1, "good 500": 1}
    assert tally.wrong == ["good 200", "good 500"]
    assert len(tally.seconds) == 2


def test_a_server_that_is_gone_is_a_wrong_answer():
    tally = Tally()

    send_good(Target(1), b"", None, tally)

    assert tally.wrong == ["good ConnectionRefusedError"]


def test_clients_act_side_by_side():
    together, met = threading.Barrier(3, timeout=30), threading.local()

    def act(_):
        if not hasattr(met, "place"):
            met.place = together.wait()
        time.sleep(0.01)

    assert run_clients(3, 1, act) >= 1
    assert not together.broken


def test_the_table_has_a_row_for_each_trial():
    tally = Tally()
    tally.add("good", 200, right=True, seconds=1.0)
    tally.add("good", 503, right=True)
    trial = summary(tally, 2.0)
    common = {"peak_rss_bytes": 5e8, "model": "lite-onnx", "size": 1024, "threads": 2}
    stored = {
        "environment": {"processor": "P", "cores": 2, "packages": {"onnxruntime": "1.32.0"}},
        "direct": {**trial, **common},
        "ours": {"1 clients": trial, "64 clients": trial, "photo": [16, 9], **common},
        "rembg": {"4 clients": trial, "version": "rembg, version 2", **common},
        "overload": {
            **{"clients": 64, "wrong": 0, "tracebacks": 0, "outcomes": {"good 200": 7}},
            **{"peak_rss_bytes": 6e8, "health": {"p99_s": 0.02}},
        },
        "drift": {"requests": 10_000, "drift": 0.001},
        "bad_paths": {"requests": 1_540, "drift": 0.02, "rss_bytes_by_tenth": [1e8, 2e8]},
    }

    table = markdown_table(stored)

    assert "| `birefnet serve` | 64 | 0.5 | 1 s | 1 s | 1 | 500 MB |" in table
    assert "| direct calls | 1 |" in table
    assert "| rembg | 4 |" in table
    assert "`/health` took 20 ms at p99" in table
    assert "10,000 requests moved the memory by +0.1%" in table
    assert "1,540 requests, most of which end badly" in table
    assert "moved it by +2%, to 200 MB" in table


def test_so_many_requests_are_made_and_the_same_ones_each_time():
    seen = [Counter(), Counter()]
    for each in seen:
        run_all(3, 10, lambda draw, each=each: each.update([draw.random()]), seed=5)

    assert seen[0] == seen[1]
    assert sum(seen[0].values()) == 10


@pytest.mark.parametrize(
    ("samples", "flat"),
    [
        ([50] * 2 + [100] * 18, True),  # what is loaded at first doesn't count
        ([100] * 16 + [109] * 4, True),
        ([100 + number for number in range(40)], False),
        ([100] * 10 + [150] * 2 + [100] * 8, False),
        ([100] * 10 + [150] + [100] * 19, True),  # one that is seldom
    ],
)
def test_what_is_called_flat(samples, flat):
    assert flatness(samples)["flat"] is flat


@pytest.mark.slow
def test_bad_paths_end_as_they_should(monkeypatch):
    monkeypatch.setattr(serve_bad_paths, "ROUNDS", 10)
    monkeypatch.setattr(serve_bad_paths, "SLOW_SIDE", 500)

    measured = measure_bad_paths(Plan(Path("nano"), 160, 1, 1, 100, ""), 160)

    assert measured["wrong_kinds"] == []
    assert measured["tracebacks"] == 0
    assert len(measured["rss_bytes_by_round"]) == 10
    assert {"no subject 400", "gone after half left"} <= set(measured["outcomes"])
