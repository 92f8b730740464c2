"""A model that is unloaded while nothing comes, and opened again with the next picture."""

import re
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from birefnet_apps.serve import runner as runner_module
from birefnet_apps.serve.app import Service
from birefnet_apps.serve.settings import Settings
from birefnet_runtime import Segmenter
from birefnet_runtime.errors import ServeError

from .conftest import PATIENCE_S, HeldSession, Running, multipart, wait_until
from .test_bounds import start
from .test_signals import asked, connected


def loaded(server: Running) -> bool:
    return server.service._runner._segmenter._session is not None


def test_a_model_is_unloaded_and_opened_again(serve, model, photo):
    server = serve(model, unload_after_s=0.2)
    expected = server.removebg(photo).content
    for _ in range(2):
        wait_until(lambda: not loaded(server))
        assert server.get("/ready").status == 200
        assert server.removebg(photo).content == expected


def test_it_stays_while_a_picture_is_under_way_and_by_default(serve, model, photo, monkeypatch):
    go, work = threading.Event(), runner_module.make_answer

    def waits(*arguments: Any) -> Any:
        assert go.wait(PATIENCE_S)
        return work(*arguments)

    monkeypatch.setattr(runner_module, "make_answer", waits)
    server, kept = serve(model, unload_after_s=0.2), serve(model)
    waiting = server.start(lambda: server.removebg(photo))
    wait_until(lambda: server.service._runner._under_way == 1)
    time.sleep(0.5)
    assert loaded(server)
    go.set()
    assert waiting.result().status == 200
    wait_until(lambda: not loaded(server))
    assert loaded(kept)


def test_a_model_that_can_not_be_opened_again_is_not_ready(serve, model, photo, tmp_path):
    copy, away = tmp_path / "model.onnx", tmp_path / "away.onnx"
    shutil.copy(model, copy)
    server = serve(copy, unload_after_s=0.2)
    wait_until(lambda: not loaded(server))
    copy.rename(away)
    assert server.removebg(photo).status == 500
    assert server.get("/ready").status == 503
    assert server.get("/health").status == 200
    away.rename(copy)
    assert server.removebg(photo).status == 200
    assert server.get("/ready").status == 200


def test_a_session_that_was_handed_in_can_not_be_unloaded():
    with pytest.raises(ServeError, match="handed in"):
        Service(
            Segmenter.from_session(HeldSession()),  # type: ignore[arg-type]
            Settings(unload_after_s=1),
            "made",
        )


def resident_mb(number: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{number}/status").read_text())
    assert found
    return int(found[1]) // 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_the_memory_of_an_unloaded_model_goes_back(photo):
    options = ("--size", "512", "--unload-after", "0.02", "--drain-delay", "0")
    process, port, _ = start(*options)
    assert process.stderr
    try:
        headers, body = multipart({"file": photo})
        sizes = []
        for _ in range(3):
            with connected(port) as connection:
                connection.request("POST", "/api/remove", body, headers)
                assert connection.getresponse().read()
                while b"birefnet_queue_depth 0.0" not in asked(connection, "/metrics")[1]:
                    pass
            with_model = resident_mb(process.pid)
            while "unloaded" not in process.stderr.readline():
                pass
            wait_until(lambda with_model=with_model: resident_mb(process.pid) < with_model - 60)
            sizes.append(resident_mb(process.pid))
        assert max(sizes) <= min(sizes) + 15
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.communicate()
