"""Outcomes hold no frames, and nothing once they are taken."""

import asyncio
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from birefnet_apps.serve.errors import Outcome, outcome_of
from birefnet_runtime.errors import ImageError, ModelError
from birefnet_runtime.pipeline import bare

from ...leftovers import Work

pytestmark = pytest.mark.usefixtures("without_collector")


def test_a_value_is_given_once():
    work = Work()
    outcome = Outcome.of(work, None)

    assert outcome.taken().shape == (9, 9)
    assert work.gone()
    assert outcome.value is None


def test_an_error_has_nothing_of_where_it_was_raised():
    work = Work()
    outcome = Outcome.of(work, ImageError)

    assert work.gone()
    with pytest.raises(ImageError, match="no") as caught:
        outcome.taken()
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert outcome.error is None


def test_waiting_for_a_thread_leaves_no_cycle():
    work, outcome = Work(), None
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(Outcome.later(work, ModelError))
        try:
            future.result().taken()
        except ModelError as error:
            outcome = weakref.ref(error)
    assert outcome is not None
    assert outcome() is None
    assert work.gone()


def test_what_a_thread_was_handed_is_gone_when_its_future_is_done():
    array = np.zeros(9)
    seen = weakref.ref(array)
    step = Outcome.later(np.sum, array)
    del array

    assert step().taken() == 0
    assert seen() is None  # though the step is still here


def test_an_unexpected_error_keeps_its_place_as_text_once():
    def breaks() -> None:
        raise RuntimeError("odd")

    error = Outcome.of(breaks).error

    assert error is not None
    assert bare(error).__notes__ == error.__notes__
    (note,) = error.__notes__
    assert "in breaks" in note


def test_a_task_that_is_cancelled_keeps_nothing():
    async def work() -> None:
        array = np.zeros(9)
        made.append(weakref.ref(array))
        await asyncio.sleep(60)
        print(array)

    async def cancel() -> bool:
        task = asyncio.create_task(outcome_of(work()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled() and made[0]() is None

    made: list[weakref.ref[np.ndarray]] = []
    assert asyncio.run(cancel())
