"""Prepare, run, finish: three stages at the same time, in bounded memory and in order."""

import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Generic, TypeVar

from birefnet_models.base.errors import BirefnetError

from .errors import Interrupted
from .machine import usable_cores

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")
Answer = TypeVar("Answer")
Done = TypeVar("Done")
Error = TypeVar("Error", bound=BaseException)

CAPACITY = 1.2e9
"""Weight that may be under way at once where no limit is given: bytes that pictures take."""

_OF_ONE_ITEM = (BirefnetError, MemoryError, ArithmeticError)
"""Errors of one item, which don't end the others where `failed` is given."""


def bare(error: Error) -> Error:
    """The same error without its traceback, its cause and its context, so that it can be kept.

    An error that is none of ours keeps its traceback as text, in a note.
    """
    expected = isinstance(error, BirefnetError | MemoryError)
    if not expected and error.__traceback__ and not hasattr(error, "__notes__"):
        error.add_note("".join(traceback.format_exception(error)).rstrip())
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


@dataclass(frozen=True, slots=True)
class Finished(Generic[Done]):
    """The result of an item that needs no run, returned by `prepare`."""

    result: Done


@dataclass(slots=True)
class _UnderWay(Generic[Item]):
    item: Item
    weight: float
    stage: Future[Any]
    """Gives what was prepared of the item; once it was run, its result."""


@dataclass(frozen=True, slots=True)
class _Stages(Generic[Item, Prepared, Answer, Done]):
    """How `overlap` takes items from one stage to the next."""

    run: Callable[[Sequence[Prepared]], Sequence[Answer]]
    finish: Callable[[Prepared, Answer], Done]
    failed: Callable[[Item, Exception], Done] | None
    pool: ThreadPoolExecutor
    interrupted: Event = field(default_factory=Event)
    """Set once a run was ended on request: nothing else is begun then."""

    def advance(self, batch: Iterable[_UnderWay[Item]]) -> None:
        """Run together what needs it of a batch, and begin to finish that."""
        ready, prepared = [], []
        for under_way in batch:
            if under_way.stage.exception() is not None:
                continue  # raised when its turn has come
            result = under_way.stage.result()
            if not isinstance(result, Finished):
                ready.append(under_way)
                prepared.append(result)
        if not ready:
            return
        try:
            answers = self.run(prepared)
        except _OF_ONE_ITEM as error:
            for under_way in ready:
                under_way.stage = self._failure(under_way.item, bare(error))
            return
        for under_way, each, answer in zip(ready, prepared, answers, strict=True):
            under_way.stage = self.pool.submit(
                self.attempt, under_way.item, self.finish, each, answer
            )

    def attempt(self, item: Item, stage: Callable[..., Any], *arguments: Any) -> Any:
        """A stage's result; of an item that failed the one that stands for it, if one is wanted."""
        try:
            return stage(*arguments)
        except Interrupted:
            self.interrupted.set()
            raise
        except _OF_ONE_ITEM as error:
            if self.failed is None:
                raise
            return Finished(self.failed(item, bare(error)))

    def _failure(self, item: Item, error: Exception) -> Future[Any]:
        stage: Future[Any] = Future()
        if isinstance(error, Interrupted):
            self.interrupted.set()
        if self.failed is None or isinstance(error, Interrupted):
            stage.set_exception(error)
        else:
            stage.set_result(Finished(self.failed(item, error)))
        return stage


def ahead(
    work: Callable[[Item], Done],
    items: Iterable[Item],
    count: int,
    *,
    weigh: Callable[[Item], float] = lambda item: 0,
    capacity: float = CAPACITY,
) -> Iterator[Done]:
    """Do something for each item in `count` threads, before the results are asked for; in order.

    No more than `count` results wait, and no more than `capacity` of what the items weigh, so that
    memory is bounded however many items there are.

    Raises:
        Exception: what `work` raises for an item, in its place.
    """
    waiting: deque[tuple[Future[Done], float]] = deque()
    load = 0.0
    pool = ThreadPoolExecutor(count)
    try:
        for item in items:
            weight = weigh(item)
            while waiting and (len(waiting) >= count or load + weight > capacity):
                done, lighter = waiting.popleft()
                yield done.result()
                load -= lighter
            waiting.append((pool.submit(work, item), weight))
            load += weight
            del item
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def overlap(
    items: Iterable[Item],
    prepare: Callable[[Item], Prepared | Finished[Done]],
    run: Callable[[Sequence[Prepared]], Sequence[Answer]],
    finish: Callable[[Prepared, Answer], Done],
    *,
    failed: Callable[[Item, Exception], Done] | None = None,
    weigh: Callable[[Item], float] = lambda item: 0,
    capacity: float = CAPACITY,
    batch: int = 1,
    workers: int | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Generator[Done, None, None]:
    """Pass items through three stages; `run` happens in the calling thread, the others beside it.

    No more than `workers` items are prepared ahead and as many being finished, so that memory is
    bounded however many there are. What is raised in a stage is raised here, in its place.

    Args:
        items: drawn from in this thread, as there is room.
        prepare: an item to what `run` takes, or its result where no run is needed.
        run: some prepared items, never more than `batch`, to as many answers. Only what is
            prepared already goes together; nothing is waited for to fill a batch.
        finish: what was prepared and its answer to the result.
        failed: the result of an item for which a stage raised a BirefnetError, MemoryError or
            ArithmeticError, so that the others go on. By default that is raised like anything else,
            as Interrupted always is, in its place: nothing else is begun then.
        weigh: how heavy an item is.
        capacity: how much may be under way together; an item that is heavier goes alone.
        workers: threads for the first and last stage; by default as many as cores may be used.
        stopped: once true, what has been run is still finished, and nothing else is begun.

    Yields:
        Results, in the order of the items.
    """
    workers = workers or usable_cores()
    ahead = max(workers, batch)
    waiting = ((item, weigh(item)) for item in items)
    following = next(waiting, None)
    preparing: deque[_UnderWay[Item]] = deque()
    finishing: deque[_UnderWay[Item]] = deque()
    load = 0.0
    pool = ThreadPoolExecutor(workers)
    stages = _Stages(run, finish, failed, pool)
    interrupted = stages.interrupted.is_set
    try:
        while True:
            while (
                following is not None
                and not (interrupted() or stopped())
                and len(preparing) < ahead
                and (load == 0 or load + following[1] <= capacity)
            ):
                item, weight = following
                preparing.append(
                    _UnderWay(item, weight, pool.submit(stages.attempt, item, prepare, item))
                )
                load += weight
                following = next(waiting, None)
            if preparing and not (interrupted() or stopped()):
                taken = [preparing.popleft()]
                while preparing and len(taken) < batch and preparing[0].stage.done():
                    taken.append(preparing.popleft())
                stages.advance(taken)
                finishing.extend(taken)
                del taken
            elif not finishing:
                if interrupted():  # while an item was prepared
                    raise Interrupted
                return
            while finishing and (
                interrupted()
                or stopped()
                or not preparing
                or len(finishing) > ahead
                or finishing[0].stage.done()
            ):
                oldest = finishing.popleft()
                load -= oldest.weight
                try:
                    result = oldest.stage.result()
                finally:
                    del oldest  # an error has this frame, and must not be found from it
                yield result.result if isinstance(result, Finished) else result
                if not preparing:
                    break  # there may be room again
    finally:
        preparing.clear()
        finishing.clear()
        pool.shutdown(wait=True, cancel_futures=True)
