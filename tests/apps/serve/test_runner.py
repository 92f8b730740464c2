"""The one session: what shares a run, what is given up, what is tried again."""

import asyncio
import threading
import time
from typing import Any

from birefnet_apps.files.steps import SLACK_BYTES
from birefnet_apps.serve import runner as runner_module
from birefnet_apps.serve.app import Service
from birefnet_apps.serve.settings import Settings
from birefnet_runtime import Segmenter

from .conftest import PATIENCE_S, HeldSession, Running, multipart, run, subject, wait_until
from .test_bounds import free, head, opened


class Permits(threading.Event):
    """Lets one run after the other go."""

    def __init__(self) -> None:
        super().__init__()
        self._permits = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set() or self._permits.acquire(timeout=timeout)

    def one(self) -> None:
        self._permits.release()


def service_of(session: Any, **settings: Any) -> Service:
    return Service(Segmenter.from_session(session), Settings(**settings), "made")


def waiting_for(server: Running, count: int) -> None:
    wait_until(lambda: len(server.service._runner._ready) == count)


def test_pictures_have_what_the_model_the_program_and_the_bodies_leave():
    settings = {"memory_left": 1e9, "max_upload_bytes": 10_000_000}
    capacity = service_of(HeldSession(), **settings)._runner._budget._capacity
    assert capacity == 1e9 - SLACK_BYTES - 80_000_000


def test_one_that_leaves_a_shared_run_does_not_end_it(serve, photo):
    session = HeldSession()
    session.go = permits = Permits()
    server = serve(session, batch=2)
    first = server.start(lambda: server.removebg(photo))
    assert session.begun.acquire(timeout=PATIENCE_S)
    stays = server.start(lambda: server.removebg(photo))
    body = multipart({"image_file": photo})[1]
    with opened(server) as leaver:
        leaver.sendall(head(server, len(body)) + body)
        waiting_for(server, 2)
        permits.one()
        assert session.begun.acquire(timeout=PATIENCE_S)  # both are in one run
    wait_until(lambda: any(not job.wanted for job in server.service._runner._running))
    permits.one()

    assert first.result().status == stays.result().status == 200
    assert (session.interrupted, session.batches) == (0, [1, 2])
    wait_until(lambda: free(server))


def test_a_thread_that_still_reads_a_picture_keeps_its_room(serve, model, photo, monkeypatch):
    go, begun, work = threading.Event(), threading.Semaphore(0), runner_module.read_pictures

    def reads(*arguments: Any) -> Any:
        begun.release()
        assert go.wait(PATIENCE_S)
        return work(*arguments)

    monkeypatch.setattr(runner_module, "read_pictures", reads)
    server = serve(model)
    budget = server.service._runner._budget
    body = multipart({"image_file": photo})[1]
    with opened(server) as leaver:
        leaver.sendall(head(server, len(body)) + body)
        assert begun.acquire(timeout=PATIENCE_S)
    time.sleep(0.3)
    assert budget._inside == 1
    go.set()
    wait_until(lambda: budget._inside == 0 and free(server))


def test_a_batch_that_is_too_much_for_the_memory_goes_one_by_one(serve, photo):
    session = HeldSession()
    real = session.run

    def runs(names: Any, feed: Any) -> list[Any]:
        answer = real(names, feed)
        if session.batches and len(next(iter(feed.values()))) > 1:
            raise MemoryError
        return answer

    session.run = runs  # type: ignore[method-assign]
    server = serve(session, batch=2)
    first = server.start(lambda: server.removebg(photo))
    assert session.begun.acquire(timeout=PATIENCE_S)
    both = [server.start(lambda: server.removebg(photo)) for _ in range(2)]
    waiting_for(server, 2)
    session.go.set()

    assert {each.result().status for each in (first, *both)} == {200}
    assert session.batches == [1, 2, 1, 1]


def test_a_batch_keeps_the_server_busy_for_each_of_its_pictures_share(serve, photo, monkeypatch):
    session, now, took = HeldSession(), [0.0], []
    real = session.run

    def runs(names: Any, feed: Any) -> list[Any]:
        answer = real(names, feed)
        now[0] += 12
        return answer

    session.run = runs  # type: ignore[method-assign]
    server = serve(session, batch=3)
    monkeypatch.setattr(runner_module, "perf_counter", lambda: now[0])
    monkeypatch.setattr(server.service._queue, "took", took.append)
    first = server.start(lambda: server.removebg(photo))
    assert session.begun.acquire(timeout=PATIENCE_S)
    others = [server.start(lambda: server.removebg(photo)) for _ in range(3)]
    waiting_for(server, 3)
    session.go.set()

    assert {each.result().status for each in (first, *others)} == {200}
    assert took == [12, 4]


def test_an_end_does_not_wait_for_the_run():
    session = HeldSession()
    runner = service_of(session)._runner

    async def main() -> None:
        await runner.start()
        prepared = runner._segmenter.prepare(subject())
        running = asyncio.create_task(runner._run(prepared))
        while not session.begun.acquire(blocking=False):
            await asyncio.sleep(0.01)
        async with asyncio.timeout(PATIENCE_S):
            await runner.stop()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run(main())
    assert session.interrupted >= 1
    assert session.batches == [1]


def test_an_end_does_not_wait_for_the_first_run_on_nothing():
    session = HeldSession()
    begun = threading.Event()

    def runs(*_: Any) -> list[Any]:
        begun.set()
        assert session.stopped.wait(PATIENCE_S)
        raise RuntimeError("Exiting due to terminate flag being set to true.")

    session.run = runs  # type: ignore[method-assign]
    runner = service_of(session)._runner

    async def main() -> None:
        starting = asyncio.create_task(runner.start())
        while not begun.is_set():
            await asyncio.sleep(0.01)
        async with asyncio.timeout(10):
            await runner.stop()
        await asyncio.gather(starting, return_exceptions=True)

    run(main())
