"""Reading, running and writing at the same time, in bounded memory and in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from .cores import usable_cores

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")
Answer = TypeVar("Answer")
Done = TypeVar("Done")

HEAVY = 100_000_000
"""How much weight may be under way at once: pixels, for images. What weighs more goes alone."""


@dataclass(slots=True)
class _Started(Generic[Prepared]):
    weight: int
    prepared: Future[Prepared]


def overlap(
    items: Iterable[Item],
    prepare: Callable[[Item], Prepared],
    run: Callable[[Sequence[Prepared]], Sequence[Answer]],
    finish: Callable[[Prepared, Answer], Done],
    *,
    weigh: Callable[[Item], int] = lambda item: 0,
    batch: int = 1,
    workers: int | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Generator[Done, None, None]:
    """Pass items through three stages; `run` happens in the calling thread, the others beside it.

    No more than `workers` items are prepared ahead and as many being finished, so that memory is
    bounded however many there are. What is raised in a stage is raised here, in its place.

    Args:
        items: drawn from in this thread, as there is room.
        prepare: an item to what `run` takes.
        run: some prepared items, never more than `batch`, to as many answers. Only what is
            prepared already goes together; nothing is waited for to fill a batch.
        finish: what was prepared and its answer to the result.
        weigh: how heavy an item is; together no more than `HEAVY` are under way, or one.
        workers: threads for the first and last stage; by default as many as cores may be used.
        stopped: once true, what has been run is still finished, and nothing else is begun.

    Yields:
        Results, in the order of the items.
    """
    workers = workers or usable_cores()
    ahead = max(workers, batch)
    waiting = _weighed(items, weigh)
    following = next(waiting, None)
    preparing: deque[_Started[Prepared]] = deque()
    finishing: deque[tuple[int, Future[Done]]] = deque()
    load = 0
    pool = ThreadPoolExecutor(workers)
    try:
        while True:
            while (
                following is not None
                and not stopped()
                and len(preparing) < ahead
                and (load == 0 or load + following[1] <= HEAVY)
            ):
                item, weight = following
                load += weight
                preparing.append(_Started(weight, pool.submit(prepare, item)))
                following = next(waiting, None)
            if preparing and not stopped():
                taken = _take(preparing, batch)
                try:
                    prepared = [started.prepared.result() for started in taken]
                    answers = run(prepared)
                except Exception:
                    for _, done in finishing:  # what came before it has its result
                        yield done.result()
                    raise
                for started, each, answer in zip(taken, prepared, answers, strict=True):
                    finishing.append((started.weight, pool.submit(finish, each, answer)))
                del prepared, taken, answers
            elif not finishing:
                return
            while finishing and _is_due(finishing, preparing, ahead, stopped()):
                weight, done = finishing.popleft()
                result = done.result()
                load -= weight
                yield result
                if not preparing:
                    break  # there may be room again
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _weighed(items: Iterable[Item], weigh: Callable[[Item], int]) -> Iterator[tuple[Item, int]]:
    for item in items:
        yield item, weigh(item)


def _take(preparing: deque[_Started[Prepared]], batch: int) -> list[_Started[Prepared]]:
    """The next item, and those after it that are ready, up to a batch."""
    taken = [preparing.popleft()]
    while preparing and len(taken) < batch and preparing[0].prepared.done():
        taken.append(preparing.popleft())
    return taken


def _is_due(
    finishing: deque[tuple[int, Future[Done]]],
    preparing: deque[_Started[Prepared]],
    ahead: int,
    stopped: bool,
) -> bool:
    """Whether the oldest result is to be waited for, or there already."""
    return stopped or not preparing or len(finishing) > ahead or finishing[0][1].done()
