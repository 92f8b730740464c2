import asyncio

import pytest
from birefnet_apps.serve.errors import Refusal
from birefnet_apps.serve.limits import PictureBudget, RequestQueue, UploadBudget

from .conftest import run


def test_a_queue_is_bounded_by_count_and_by_pixels():
    queue = RequestQueue(2, 100)
    with queue.slot(60), queue.slot(40):
        with pytest.raises(Refusal), queue.slot(0):
            pass
        assert (queue.count, queue.pixels) == (2, 100)
    with queue.slot(60), pytest.raises(Refusal), queue.slot(41):
        pass
    with queue.slot(1000):  # alone, whatever it has
        pass
    assert (queue.count, queue.pixels) == (0, 0)


def test_an_answer_that_is_made_lets_the_next_in_but_keeps_its_pixels():
    queue = RequestQueue(1, 100)
    with queue.slot(60) as slot:
        slot.answered()
        slot.answered()
        with pytest.raises(Refusal), queue.slot(41):
            pass
        with queue.slot(40):
            assert queue.count == 1
    assert (queue.count, queue.pixels) == (0, 0)


def test_when_to_come_again_grows_with_what_is_under_way():
    queue = RequestQueue(100, 10**9)
    for _ in range(50):
        queue.took(3)
    assert queue.retry_after_s == 1
    places = [queue.slot(1) for _ in range(20)]
    for place in places:
        place.__enter__()
    assert 25 <= queue.retry_after_s <= 31


def test_held_bytes_are_refused_beyond_the_most_but_answers_are_not():
    held = UploadBudget(100)
    held.add(100)
    with pytest.raises(Refusal):
        held.add(1)
    with held.answer(1000):
        assert held.bytes == 1100
    assert held.bytes == 100


def test_room_is_given_in_order_by_count_and_by_load():
    inside: list[str] = []
    order: list[str] = []

    async def stay(room: PictureBudget, name: str, load: float, leave: asyncio.Event) -> None:
        async with room.entered(load):
            order.append(name)
            inside.append(name)
            await leave.wait()
            inside.remove(name)

    async def main() -> None:
        room = PictureBudget(2, 100)
        leaves = {name: asyncio.Event() for name in "abcd"}
        loads = {"a": 60, "b": 50, "c": 10, "d": 500}
        tasks = {}
        for name in "abcd":
            tasks[name] = asyncio.create_task(stay(room, name, loads[name], leaves[name]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert inside == ["a"]  # b doesn't fit, and c waits behind it
        leaves["a"].set()
        await asyncio.sleep(0.01)
        assert inside == ["b", "c"]
        leaves["b"].set()
        leaves["c"].set()
        await asyncio.sleep(0.01)
        assert inside == ["d"]  # alone
        leaves["d"].set()
        await asyncio.gather(*tasks.values())
        assert order == list("abcd")

    run(main())


def test_who_gives_up_waiting_lets_the_next_in():
    async def main() -> None:
        room = PictureBudget(1, 100)
        first = room.entered(10)
        await first.__aenter__()
        heavy = asyncio.create_task(room.entered(95).__aenter__())
        light = room.entered(10)
        last = asyncio.create_task(light.__aenter__())
        await asyncio.sleep(0)
        heavy.cancel()
        await asyncio.sleep(0)
        assert not last.done()
        await first.__aexit__(None, None, None)
        await asyncio.wait_for(last, 10)
        await light.__aexit__(None, None, None)
        async with room.entered(1):
            pass

    run(main())


def test_all_that_give_up_in_the_same_moment_leave_the_room_as_it_was():
    """As requests do whose time is up: the first to leave finds turns that were given up."""

    async def stay(room: PictureBudget, load: float) -> None:
        async with room.entered(load):
            await asyncio.Event().wait()

    async def main() -> None:
        room = PictureBudget(1, 100)
        tasks = [asyncio.create_task(stay(room, 60)) for _ in range(5)]
        await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(end) for end in ends] == [asyncio.CancelledError] * 5
        for _ in range(2):
            async with asyncio.timeout(10), room.entered(100):
                other = asyncio.create_task(stay(room, 1))
                await asyncio.sleep(0.01)
                other.cancel()

    run(main())


def test_a_turn_that_is_given_up_as_it_comes_is_given_back():
    async def main() -> None:
        budget = PictureBudget(1, 100)
        first = budget.entered(100)
        await first.__aenter__()
        waiting = asyncio.create_task(budget.entered(100).__aenter__())
        await asyncio.sleep(0)
        await first.__aexit__(None, None, None)  # lets it in
        waiting.cancel()  # before it has noticed
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with asyncio.timeout(10), budget.entered(100):
            pass

    run(main())


def test_small_ones_behind_a_large_one_that_is_given_up_are_let_in():
    async def main() -> None:
        budget = PictureBudget(9, 100)
        first = budget.entered(60)  # kept: what is collected leaves
        await first.__aenter__()
        large = asyncio.create_task(budget.entered(80).__aenter__())
        small = asyncio.create_task(budget.entered(30).__aenter__())
        await asyncio.sleep(0)
        large.cancel()
        await asyncio.wait_for(small, 10)

    run(main())
