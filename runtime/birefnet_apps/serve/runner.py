"""One session and one thread that runs it; reading and writing pictures beside it.

A picture waits for room, is read, goes through the network together with what else is ready, and
is written. What is given up, because its client left or its time is over, stops where it is: in
the queue at once, in a run as soon as nobody waits for it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, TypeVar

from birefnet_models.base.errors import BirefnetError
from birefnet_runtime.cutout.refine import Prediction
from birefnet_runtime.errors import ServeError
from birefnet_runtime.machine import usable_cores
from birefnet_runtime.model.graph_io import Prepared
from birefnet_runtime.segmenter import Segmenter

from ..files.steps import Weight, budget
from .access import log
from .errors import Outcome
from .job import Order, Reply, make_answer, read_pictures
from .limits import PictureBudget, RequestQueue
from .metrics import Metrics
from .settings import Settings

Value = TypeVar("Value")


class _Job:
    """A picture that is ready for the network."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.logits: asyncio.Future[Outcome[Prediction]]
        self.logits = asyncio.get_running_loop().create_future()
        self.wanted = True


class _Clock:
    """Times the stages that a picture passes through, one after the other."""

    def __init__(self, metrics: Metrics, seconds: dict[str, float]) -> None:
        self._metrics = metrics
        self._seconds = seconds
        self._since = perf_counter()

    def lap(self, stage: str) -> None:
        now = perf_counter()
        self._seconds[stage] = now - self._since
        self._metrics.took(stage, now - self._since)
        self._since = now


class Runner:
    """Makes answers, in the order of the orders, within bounds of memory.

    Args:
        segmenter: the open model; nobody else runs it.
        settings: bounds.
        queue: told how long a picture takes.
        metrics: told the rest.

    Attributes:
        opens: False from where the model, freed meanwhile, couldn't be opened until it could.

    Raises:
        ServeError: it is to be freed when nothing comes, and can't be opened again.
    """

    def __init__(
        self, segmenter: Segmenter, settings: Settings, queue: RequestQueue, metrics: Metrics
    ) -> None:
        self._segmenter = segmenter
        self._settings = settings
        self._queue = queue
        self._metrics = metrics
        # While some are in a run, as many are read or written: more would only take memory.
        at_once = 2 * settings.batch
        capacity = budget(settings.memory_left, settings.held_bytes)
        self._budget = PictureBudget(at_once, capacity)
        self._pictures = ThreadPoolExecutor(
            min(at_once, max(2, usable_cores())), "birefnet-picture"
        )
        self._network = ThreadPoolExecutor(1, "birefnet-run")
        self._ready: deque[_Job] = deque()
        self._running: list[_Job] = []
        self._arrival = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._under_way = 0
        self._unloading: asyncio.TimerHandle | None = None
        self.opens = True
        if settings.unload_after_s is not None and segmenter.session_info is None:
            raise ServeError("a session that was handed in can't be unloaded: leave that out")

    async def start(self) -> None:
        """Begin to run what comes, after a run on nothing, which the first picture needn't wait
        for then."""
        network = asyncio.get_running_loop().run_in_executor
        for batch in sorted({1, self._settings.batch}):
            await network(self._network, self._segmenter.warm_up, None, batch)
        self._loop = asyncio.create_task(self._run_what_comes())
        self._unload_later()

    async def stop(self) -> None:
        """End the threads. What is under way, such as the first run on nothing, is given up."""
        self._keep_loaded()
        if self._loop is not None:
            self._loop.cancel()
            self._loop = None
        for job in (*self._running, *self._ready):
            job.logits.cancel()  # else who waits for it would wait for ever
        ending = [
            asyncio.create_task(asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True))
            for pool in (self._pictures, self._network)
        ]
        while True:  # a run may begin just after the runs were interrupted
            self._segmenter.interrupt()
            _, pending = await asyncio.wait(ending, timeout=0.1)
            if not pending:
                return

    async def answer(self, order: Order, weight: Weight, seconds: dict[str, float]) -> Reply:
        """Make an answer.

        Args:
            order: what is asked for.
            weight: what it takes.
            seconds: of each stage, filled in.

        Raises:
            Refusal: the picture is at fault.
            ModelError: the run failed.
        """
        self._under_way += 1
        self._keep_loaded()
        try:
            return await self._answer(order, weight, seconds)
        finally:
            self._under_way -= 1
            self._unload_later()

    async def _answer(self, order: Order, weight: Weight, seconds: dict[str, float]) -> Reply:
        clock = _Clock(self._metrics, seconds)
        async with self._budget.entered(weight.bytes):
            clock.lap("queue")
            ready = await self._in_thread(read_pictures, order, self._segmenter, self._settings)
            clock.lap("read")
            logits = await self._run(ready.prepared)
            clock.lap("run")
            answer = await self._in_thread(make_answer, order, ready, logits, self._segmenter)
            clock.lap("write")
            return answer

    def _keep_loaded(self) -> None:
        if self._unloading is not None:
            self._unloading.cancel()
            self._unloading = None

    def _unload_later(self) -> None:
        """Free the model once nothing has come for a while."""
        after_s = self._settings.unload_after_s
        if after_s is not None and not self._under_way and self._loop is not None:
            self._keep_loaded()
            loop = asyncio.get_running_loop()
            self._unloading = loop.call_later(after_s, self._network.submit, self._unload)

    def _unload(self) -> None:
        """In the network's thread, where no run is under way then."""
        self._segmenter.close()
        log.info("unloaded: %g s without a picture", self._settings.unload_after_s)

    def _run_open(self, prepared: Sequence[Prepared]) -> list[Prediction]:
        """Run the model, which is opened first where it was unloaded; in the network's thread."""
        try:
            self._segmenter.reopen()
        except Exception:
            self.opens = False
            raise
        self.opens = True
        return self._segmenter.run(prepared)

    async def _in_thread(self, work: Callable[..., Value], *arguments: Any) -> Value:
        """Do a step in a thread. Given up meanwhile, it is waited for: it holds memory."""
        step = self._pictures.submit(Outcome.later(work, *arguments))
        done = asyncio.wrap_future(step)
        try:
            outcome = await asyncio.shield(done)
        except asyncio.CancelledError:
            if not step.cancel():
                await asyncio.wait([done])
                if not done.cancelled():
                    done.result().forget()  # the thread has it, too, for another moment
            raise
        return outcome.taken()

    async def _run(self, prepared: Prepared) -> Prediction:
        """Send a picture through the network, and wait for its logits."""
        job = _Job(prepared)
        self._ready.append(job)
        self._arrival.set()
        try:
            outcome = await asyncio.shield(job.logits)
        except asyncio.CancelledError:
            job.wanted = False
            if job in self._running:
                if not any(each.wanted for each in self._running):
                    self._metrics.interrupted.inc()
                    self._segmenter.interrupt()
                await asyncio.wait([job.logits])
            elif job in self._ready:
                self._ready.remove(job)
                job.logits.cancel()
            raise
        return outcome.taken()

    async def _run_what_comes(self) -> None:
        while True:
            await self._arrival.wait()
            self._arrival.clear()
            while self._ready:
                count = min(self._settings.batch, len(self._ready))
                self._running = [self._ready.popleft() for _ in range(count)]
                started = perf_counter()
                await self._run_batch(self._running)
                self._queue.took((perf_counter() - started) / count)
                self._metrics.batches.observe(count)
                self._running = []

    async def _run_batch(self, jobs: Sequence[_Job]) -> None:
        """Run some pictures together; if that fails, each alone, since one may be the cause."""
        network = asyncio.get_running_loop().run_in_executor
        prepared = [job.prepared for job in jobs]
        outcome = await network(self._network, Outcome.later(self._run_open, prepared))
        error = outcome.error
        if error is None:
            for job, logits in zip(jobs, outcome.taken(), strict=True):
                job.logits.set_result(Outcome(logits))
        elif (
            len(jobs) > 1
            and isinstance(error, BirefnetError | MemoryError)
            and any(job.wanted for job in jobs)
        ):
            for job in jobs:
                if job.wanted:
                    await self._run_batch([job])
                else:
                    job.logits.cancel()
        else:
            for job in jobs:
                job.logits.set_result(Outcome(error=error))
