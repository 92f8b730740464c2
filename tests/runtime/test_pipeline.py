import threading
import time

import pytest
from birefnet_runtime.errors import ImageError, ModelError
from birefnet_runtime.pipeline import Finished, overlap

from ..leftovers import Work


def through(items, **options):
    return overlap(
        items,
        lambda item: item * 10,
        lambda prepared: [each + 1 for each in prepared],
        lambda prepared, answer: (prepared, answer),
        **options,
    )


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("batch", [1, 3])
def test_results_come_in_order_whatever_takes_long(workers, batch):
    def finish(prepared, answer):
        time.sleep(0.01 if prepared % 3 else 0)
        return answer

    done = overlap(
        range(12), lambda item: item, lambda some: list(some), finish, workers=workers, batch=batch
    )

    assert list(done) == list(range(12))


def test_nothing_to_do():
    assert list(through([])) == []


def test_the_three_stages_overlap():
    """The first result can't be finished before the third item is being prepared."""
    third = threading.Event()

    def prepare(item):
        if item == 2:
            third.set()
        return item

    def finish(prepared, answer):
        return third.wait(5)

    assert list(overlap(range(3), prepare, list, finish, workers=2)) == [True] * 3


def test_the_graph_runs_in_the_calling_thread():
    def run(prepared):
        assert threading.current_thread() is threading.main_thread()
        return prepared

    assert list(overlap([1, 2], lambda item: item, run, lambda item, _: item)) == [1, 2]


def test_little_is_under_way_however_many_there_are():
    begun = 0
    most = 0

    def items():
        nonlocal begun
        for item in range(200):
            begun += 1
            yield item

    for done, _ in enumerate(through(items(), workers=2), start=1):
        most = max(most, begun - done)
    assert done == 200
    assert most <= 9


@pytest.mark.parametrize("workers", [2, 4])
def test_no_more_weight_than_allowed_is_under_way(workers):
    """Items are under way from when they begin to be prepared until their result is given."""
    lock = threading.Lock()
    under_way = []
    seen = []

    def prepare(item):
        with lock:
            under_way.append(item)
            seen.append(list(under_way))
        time.sleep(0.01)
        return item

    def finish(item, _):
        time.sleep(0.01)
        with lock:
            under_way.remove(item)
        return item

    items = [4, 4, 4, 25, 4, 3, 9, 10, 1, 5, 5, 2]
    done = overlap(
        items, prepare, list, finish, weigh=lambda item: item, capacity=10, workers=workers
    )

    assert list(done) == items
    assert max(sum(some) for some in seen if len(some) > 1) <= 10, "together, no more than 10"
    assert [25] in seen, "what is heavier goes alone"
    assert max(len(some) for some in seen) > 1, "and light ones go together"


def test_a_batch_is_never_larger_and_never_waited_for():
    sizes = []

    def run(prepared):
        sizes.append(len(prepared))
        time.sleep(0.01)
        return prepared

    list(overlap(range(20), lambda item: item, run, lambda item, _: item, batch=4, workers=2))

    assert sum(sizes) == 20
    assert 1 < max(sizes) <= 4


def test_once_stopped_what_was_run_is_finished_and_nothing_begun():
    ran = []

    def run(prepared):
        ran.extend(prepared)
        return prepared

    done = list(
        overlap(
            range(100), lambda item: item, run, lambda item, _: item,
            stopped=lambda: len(ran) >= 3, workers=2,
        )
    )  # fmt: skip

    assert done == ran
    assert done == list(range(len(done)))
    assert len(done) <= 4


@pytest.mark.parametrize("stage", ["prepare", "run", "finish"])
def test_an_error_comes_out_and_no_thread_stays(stage):
    def fail(*_):
        raise ZeroDivisionError

    stages = {
        "prepare": lambda item: item,
        "run": lambda prepared: prepared,
        "finish": lambda item, _: item,
        stage: fail,
    }
    before = threading.active_count()

    with pytest.raises(ZeroDivisionError):
        list(overlap(range(9), *stages.values()))
    assert threading.active_count() == before


def test_a_stream_that_is_dropped_ends_its_threads():
    before = threading.active_count()
    stream = through(range(100))
    next(stream)
    stream.close()

    assert threading.active_count() == before


@pytest.mark.parametrize("batch", [1, 3])
def test_what_is_finished_when_prepared_goes_past_the_other_stages(batch):
    ran = []

    def run(prepared):
        ran.extend(prepared)
        return prepared

    done = overlap(
        range(6), lambda item: Finished(-item) if item % 2 else item, run, lambda item, _: item,
        batch=batch,
    )  # fmt: skip

    assert list(done) == [0, -1, 2, -3, 4, -5]
    assert ran == [0, 2, 4]


@pytest.mark.parametrize("stage", ["prepare", "run", "finish"])
@pytest.mark.parametrize("kind", [ModelError, MemoryError])
def test_an_item_that_fails_has_its_result_and_the_others_go_on(stage, kind):
    def fails(result):
        def stage(item, *_):
            if item in (3, [3]):
                raise kind("no")
            return result(item)

        return stage

    stages = {
        "prepare": lambda item: item,
        "run": lambda prepared: prepared,
        "finish": lambda item, _: item,
    }
    stages[stage] = fails(stages[stage] if stage != "finish" else lambda item: item)

    done = overlap(range(5), *stages.values(), failed=lambda item, error: (item, str(error)))

    assert list(done) == [0, 1, 2, (3, "no"), 4]


def test_what_is_no_items_own_failure_is_raised_all_the_same():
    def prepare(item):
        raise AttributeError

    with pytest.raises(AttributeError):
        list(overlap([1], prepare, list, lambda item, _: item, failed=lambda item, error: None))


@pytest.mark.parametrize("stage", ["prepare", "run"])
def test_results_before_an_error_come_first(stage):
    def fail_at_four(item):
        if item in (4, [4]):
            raise ModelError("no")
        return item

    stages = {"prepare": lambda item: item, "run": lambda prepared: prepared, stage: fail_at_four}
    done = []

    with pytest.raises(ModelError):
        done.extend(overlap(range(1, 9), *stages.values(), lambda item, _: item))
    assert done == [1, 2, 3]


@pytest.mark.parametrize("stage", ["prepare", "run", "finish"])
@pytest.mark.parametrize("kind", [ImageError, MemoryError, RuntimeError])
def test_a_stream_that_fails_leaves_nothing(without_collector, stage, kind):
    work = Work()
    stages = {
        "prepare": lambda item: work(None),
        "run": lambda prepared: [work(None) for _ in prepared],
        "finish": lambda prepared, answer: work(None),
    }
    stages[stage] = lambda *_: work(kind)

    try:
        for done in overlap(range(3), **stages):
            del done
    except kind:
        pass
    assert work.made
    assert work.gone()


@pytest.mark.parametrize("stage", ["prepare", "run", "finish"])
def test_results_of_failures_may_be_kept(without_collector, stage):
    """As a run of many files does, whose reports have the errors in them."""
    work = Work()
    stages = {
        "prepare": lambda item: work(None),
        "run": lambda prepared: [work(None) for _ in prepared],
        "finish": lambda prepared, answer: work(None),
    }
    stages[stage] = lambda *_: work(ImageError)

    failures = list(overlap(range(5), **stages, failed=lambda item, error: error))

    assert [type(each) for each in failures] == [ImageError] * 5
    assert work.gone()
