"""What a request that ends by an error leaves in memory: nothing, without the cyclic collector."""

import gc
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
from birefnet_apps.files import steps
from birefnet_apps.serve import access
from birefnet_apps.serve import runner as runner_module
from birefnet_apps.serve.job import Reply
from birefnet_runtime import Segmenter
from birefnet_runtime.cutout.mask import Subject
from PIL import Image

from .conftest import PATIENCE_S, HeldSession, Running, Serve, multipart, png, wait_until
from .test_bounds import REMOVEBG, free, head, opened, status_of

SIDE = 700
PIXEL_BYTES = 3 * SIDE * SIDE
UPLOAD_BYTES = 3_500_000
TIMES = 4
BLACK = np.zeros((SIDE, SIDE, 3), np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, BLACK.shape, np.uint8)

Act = Callable[[Running, bytes], int]


@contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.fixture
def arrays(monkeypatch: pytest.MonkeyPatch) -> list[list[bool]]:
    """For each answer that is an error, which of the arrays made till then were still there."""
    alive: list[weakref.ref[Any]] = []
    at_answers: list[list[bool]] = []

    def watched(place: Any, name: str, arrays_of: Callable[[Any], Any]) -> None:
        work = getattr(place, name)

        def watch(*arguments: Any, **named: Any) -> Any:
            result = work(*arguments, **named)
            alive.append(weakref.ref(arrays_of(result)))
            return result

        monkeypatch.setattr(place, name, watch)

    watched(Image, "open", lambda image: image)
    watched(steps, "decode", lambda picture: picture.pixels)
    watched(steps, "compose", lambda result: result.pixels)
    watched(Segmenter, "prepare", lambda prepared: prepared.tensor)
    watched(Segmenter, "finish", lambda alpha: alpha)

    def response(*arguments: Any) -> Any:
        at_answers.append([each() is not None for each in alive])
        return json_response(*arguments)

    json_response = access.JSONResponse
    monkeypatch.setattr(access, "JSONResponse", response)
    return at_answers


def idle(server: Running) -> bool:
    """Whether nothing is counted, in no place."""
    runner = server.service._runner
    budget = runner._budget
    working = budget._inside or budget._load or budget._waiting or runner._ready or runner._running
    return free(server) and not working


def sends(content: bytes, **fields: str | bytes) -> Act:
    return lambda server, _: server.removebg(content, **fields).status


def sends_raw(body: bytes) -> Act:
    form = {"Content-Type": "multipart/form-data; boundary=a7d1f"}
    return lambda server, _: server.request("POST", REMOVEBG, body, form).status


def half_a_body(*, patient: bool) -> Act:
    def act(server: Running, body: bytes) -> int:
        with opened(server) as connection:
            connection.sendall(head(server, len(body)) + body[: len(body) // 2])
            if patient:
                return status_of(connection)
            wait_until(lambda: server.service._held.bytes > len(body) // 3)
        return 0

    return act


def leaves_in_a_run(server: Running, body: bytes) -> int:
    session: Any = server.service._runner._segmenter._session
    with opened(server) as connection:
        connection.sendall(head(server, len(body)) + body)
        assert session.begun.acquire(timeout=PATIENCE_S)
    return 0


REFUSALS: dict[str, tuple[Act, int]] = {
    "no subject": (sends(png(BLACK)), 400),
    "a region outside of the picture": (sends(png(NOISE), roi="9999 9999 99999 99999"), 400),
    "a file that is cut": (sends(png(NOISE)[:-5000]), 400),
    "a background that is cut": (sends(png(NOISE), bg_image_file=png(NOISE)[:-5000]), 400),
    "a background that is nothing": (sends(png(NOISE), bg_image_file=NOISE.tobytes()), 400),
    "not a picture": (sends(NOISE.tobytes()), 400),
    "too many pixels": (sends(png(np.zeros((2000, 2000, 3), np.uint8))), 413),
    "a parameter that is not understood": (sends(png(NOISE), size="enormous"), 400),
    "an unknown parameter": (sends(png(NOISE), sise="full"), 400),
    "a body that is nothing": (sends_raw(NOISE.tobytes()), 400),
    "a body that is too large": (sends_raw(bytes(UPLOAD_BYTES + 1)), 413),
    "half a body, and nothing more": (half_a_body(patient=True), 408),
    "half a body, and gone": (half_a_body(patient=False), 0),
}


def check_nothing_stays(server: Running, act: Act, status: int) -> None:
    """Act some times; nothing of what was sent, and of what was made of it, may stay."""
    body = multipart({"image_file": png(NOISE)})[1]
    act(server, body)  # what is loaded and cached by the first one
    wait_until(lambda: idle(server))
    with without_collector():
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(TIMES):
                assert act(server, body) == status
            wait_until(lambda: idle(server))
            wait_until(lambda: not server.server.server_state.connections)
            wait_until(lambda: tracemalloc.get_traced_memory()[0] - before < PIXEL_BYTES / 4)
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refused_picture_is_gone(serve: Serve, model, kind):
    act, status = REFUSALS[kind]
    patience_s = 0.3 if status == 408 else PATIENCE_S
    server = serve(model, max_pixels=1_000_000, max_upload_bytes=UPLOAD_BYTES, timeout_s=patience_s)
    check_nothing_stays(server, act, status)


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refused_picture_is_gone_before_its_answer_is_sent(serve: Serve, model, arrays, kind):
    act, status = REFUSALS[kind]
    server = serve(model, max_pixels=1_000_000, max_upload_bytes=UPLOAD_BYTES, timeout_s=0.5)
    body = multipart({"image_file": png(NOISE)})[1]
    with without_collector():
        for _ in range(2):
            act(server, body)
    assert not any(map(any, arrays)), status


@pytest.mark.parametrize("batch", [1, 3])
def test_what_the_model_fails_on_is_gone(serve: Serve, arrays, batch):
    session = HeldSession()
    session.go.set()
    session.fail_on = lambda tensor: True
    server = serve(session, batch=batch)

    def together(server: Running, _: bytes) -> int:
        some = [server.start(lambda: server.removebg(png(NOISE))) for _ in range(batch)]
        (status,) = {each.result().status for each in some}
        return int(status)

    check_nothing_stays(server, together, 500)
    if batch == 1:
        assert arrays
        assert not any(map(any, arrays))


@pytest.mark.parametrize("error", [RuntimeError("no"), MemoryError()], ids=["unexpected", "memory"])
@pytest.mark.parametrize("step", ["read_pictures", "make_answer"])
def test_what_breaks_in_a_thread_leaves_nothing(
    serve: Serve, model, arrays, monkeypatch, step, error
):
    work = getattr(runner_module, step)

    def breaks(*arguments: Any) -> Any:
        result = work(*arguments)
        assert result
        raise type(error)(*error.args)

    monkeypatch.setattr(runner_module, step, breaks)
    server = serve(model)

    status = 503 if isinstance(error, MemoryError) else 500
    check_nothing_stays(server, sends(png(NOISE)), status)
    assert arrays
    assert not any(map(any, arrays))


def test_an_unexpected_error_of_a_thread_is_logged_with_its_place(
    serve: Serve, model, monkeypatch, caplog
):
    def breaks_here(*_: Any) -> Any:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(runner_module, "make_answer", breaks_here)

    assert serve(model).removebg(png(NOISE)).status == 500
    assert "in breaks_here" in caplog.text


def test_what_takes_too_long_is_gone(serve: Serve, arrays):
    server = serve(HeldSession(), timeout_s=0.5)
    check_nothing_stays(server, sends(png(NOISE)), 503)
    assert arrays
    assert not any(map(any, arrays))


def test_what_is_given_up_in_a_run_is_gone(serve: Serve):
    check_nothing_stays(serve(HeldSession()), leaves_in_a_run, 0)


def test_an_answer_that_is_not_taken_is_gone(serve: Serve, model, monkeypatch):
    content = bytes(30_000_000)

    def large(order: Any, ready: Any, *_: Any) -> Reply:
        subject = Subject(found=True, box=(0, 0, 9, 9), share=0.5)
        return Reply(content + bytes(1), "png", ready.full_size, subject)

    def takes_nothing(server: Running, body: bytes) -> int:
        with opened(server) as connection, suppress(OSError):
            connection.sendall(head(server, len(body)) + body)
            wait_until(lambda: server.service._held.bytes >= len(content))
        return 0

    monkeypatch.setattr(runner_module, "make_answer", large)
    check_nothing_stays(serve(model), takes_nothing, 0)


def test_a_good_answer_leaves_nothing(serve: Serve, model):
    check_nothing_stays(serve(model), sends(png(NOISE)), 200)
