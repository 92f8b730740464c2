"""The instrument on backends whose behavior is known: each in a process of its own."""

import itertools
import random
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import psutil
import pytest
from birefnet_benchmarks.bench import interleave
from birefnet_benchmarks.bench.accuracy import AccuracyCheck
from birefnet_benchmarks.bench.configuration import Configuration
from birefnet_benchmarks.bench.interleave import InterleavedRuns
from birefnet_benchmarks.bench.measure.process import Limits

BASELINE = Configuration(
    "fake", "backends:Known", "", "fp32", "cpu", (32, 64), 1, 1, "", baseline=True
)
MEGABYTE = 1_000_000


@pytest.fixture(autouse=True)
def short_turns_of_backends_that_can_be_imported(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setattr(interleave, "ROUND_S", 0.02)


def configuration(name, source="", **changes):
    changed = replace(BASELINE, backend=f"backends:{name}", source=str(source), baseline=False)
    return replace(changed, **changes)


@pytest.fixture
def measure(tmp_path):
    """Measure configurations for next to no time; results by backend, and what was said."""
    said = []

    def run(*configurations, seconds=0.0, images=(), **limits):
        accuracy = AccuracyCheck(images, tmp_path / "run", tmp_path)
        there = InterleavedRuns(
            seconds, Limits(**limits), random.Random(0), accuracy.compare, said.append
        )
        results = list(there.run(configurations))
        return {each.configuration.backend.partition(":")[2]: each for each in results}

    run.said = said
    return run


def all_times(result):
    return [each for runs in result.rounds for each in runs.times_s]


def test_a_known_sleep_is_measured(measure, monkeypatch):
    monkeypatch.setattr(interleave, "ROUND_S", 0.25)

    found = measure(BASELINE, configuration("Sleeping", 0.1))

    times = all_times(found["Sleeping"])
    assert len(times) >= 9  # three rounds, which end with the call that fills a quarter of a second
    assert np.median(times) == pytest.approx(0.1, rel=0.05)
    assert found["Sleeping"].cold.first_s == pytest.approx(0.1, rel=0.2)
    assert 0 < found["Sleeping"].cold.import_s < 60


def test_all_configurations_of_a_group_run_in_each_round(measure):
    found = measure(BASELINE, configuration("Sleeping", 0.01), configuration("Off", 0.5))

    for result in found.values():
        assert [(runs.group, runs.number) for runs in result.rounds] == [(0, 0), (0, 1), (0, 2)]
        assert all(runs.other_cores >= 0 for runs in result.rounds)
    assert list(found)[-1] == "Known"  # the baseline's result is whole when all others are


def test_known_memory_shows_in_the_peak(measure):
    found = measure(BASELINE, configuration("Allocating", 400 * MEGABYTE))

    more = found["Allocating"].peak_rss_bytes - found["Known"].peak_rss_bytes
    assert 380 * MEGABYTE < more < 440 * MEGABYTE


@pytest.mark.parametrize("epsilon", [0.0, 1e-5, 0.02])
def test_a_known_epsilon_is_reported(measure, tmp_path, epsilon):
    image = tmp_path / "photo.png"
    write_image(image)

    found = measure(BASELINE, configuration("Off", epsilon), images=[image])

    graph = found["Off"].graph
    assert graph.logits.max_abs == pytest.approx(epsilon, abs=1e-7)
    assert graph.logits.mean_abs == pytest.approx(epsilon, abs=1e-7)
    slope = 0.2350  # of the sigmoid at one half
    assert graph.mask.p99_abs == pytest.approx(slope * epsilon, rel=0.01, abs=1e-7)
    assert (graph.problem is None) == (epsilon < 1e-3)
    (preview,) = found["Off"].previews
    assert preview.parity.mae == pytest.approx(epsilon, abs=1e-7)
    assert preview.parity.max_levels == pytest.approx(255 * epsilon, abs=1e-4)
    assert found["Known"].graph is None
    assert found["Known"].previews[0].parity is None
    for name in (preview.thumbnail, preview.mask, preview.difference):
        assert (tmp_path / "run" / name).stat().st_size > 50


def write_image(path):
    import cv2

    cv2.imwrite(str(path), np.full((40, 60, 3), 128, np.uint8))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NotANumber", "can't be compared: at 1x32x64 the graph gives NaN or infinite logits"),
        ("Misshapen", "can't be compared: at 1x32x64 the graph gives (1, 1, 32, 63), not"),
    ],
)
def test_what_can_not_be_compared_fails_and_keeps_its_times(measure, name, said):
    result = measure(BASELINE, configuration(name))[name]

    assert said in result.error
    assert len(result.rounds) == 3
    assert result.graph is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "limits", "said"),
    [
        ("Raising", {}, "ValueError: no such luck"),
        ("Exiting", {}, "ended by itself with exit code 7: leaving"),
        ("Hanging", {"timeout_s": 4.0}, "out of time: opening and its first run took longer than"),
        ("Eating", {"memory_bytes": 500e6}, "out of memory: it took 5"),
        ("Missing", {}, "backends:Missing: can't be imported as a backend"),
    ],
)
def test_a_configuration_that_fails_is_a_result_and_the_others_go_on(measure, name, limits, said):
    found = measure(BASELINE, configuration(name), configuration("Off", 0.5), **limits)

    assert found[name].error.startswith(said)
    assert "\n" not in found[name].error
    assert found[name].rounds == ()
    assert found["Known"].error is None
    assert len(found["Off"].rounds) == 3
    assert found["Off"].graph.logits.max_abs == pytest.approx(0.5)
    assert any(found[name].error in line for line in measure.said)


def test_a_crash_in_a_round_keeps_what_was_measured(measure):
    result = measure(BASELINE, configuration("Crashing"))["Crashing"]

    assert result.error == "crashed with SIGSEGV: about to fall"
    assert result.cold.first_s > 0
    assert result.peak_rss_bytes > 10 * MEGABYTE


def test_without_its_baseline_the_rest_is_measured_and_not_compared(measure):
    found = measure(replace(BASELINE, backend="backends:Raising"), configuration("Off", 0.5))

    assert found["Raising"].error == "ValueError: no such luck"
    assert len(found["Off"].rounds) == 3
    assert found["Off"].graph is None


def test_configurations_that_do_not_fit_together_run_in_groups_with_the_baseline(
    measure, monkeypatch
):
    room = iter([True, False, True])  # for Off; then none for Sleeping, until Off has left
    monkeypatch.setattr(interleave, "_fits", lambda configuration, need: next(room))

    found = measure(BASELINE, configuration("Off", 0.5), configuration("Sleeping", 0.01))

    assert {runs.group for runs in found["Known"].rounds} == {0, 1}
    heats = [{runs.group for runs in found[name].rounds} for name in ("Off", "Sleeping")]
    assert sorted(heats, key=min) == [{0}, {1}]
    assert all(each.graph for name, each in found.items() if name != "Known")


def test_a_configuration_that_does_not_fit_beside_the_baseline_runs_alone(measure, monkeypatch):
    monkeypatch.setattr(interleave, "_fits", lambda configuration, need: False)

    found = measure(BASELINE, configuration("Off", 0.5))

    assert {runs.group for runs in found["Known"].rounds} == {0}
    assert {runs.group for runs in found["Off"].rounds} == {1}
    assert found["Off"].graph.logits.max_abs == pytest.approx(0.5)
    assert any("not interleaved with the baseline" in line for line in measure.said)


class Gpu:
    """A GPU with so much left."""

    def __init__(self, free_bytes):
        self.device_free_bytes = lambda: free_bytes


@pytest.mark.parametrize(
    ("left", "free", "fits"),
    [(3 * 10**9, None, True), (2 * 10**9, None, False), (3 * 10**9, 10**9, False),
     (3 * 10**9, 2 * 10**9, True)],
)  # fmt: skip
def test_a_configuration_fits_where_what_others_took_is_free(monkeypatch, left, free, fits):
    monkeypatch.setattr(interleave, "memory_left_bytes", lambda: (left, 8 * 10**9))
    monkeypatch.setattr(interleave, "counters_for", lambda provider: Gpu(free))
    need = interleave.MemoryNeed(host_bytes=2 * 10**9, device_bytes=10**9)

    assert interleave._fits(BASELINE, need) == fits


class StubProcess:
    """Runs nothing: each run takes the time that is in the configuration's source."""

    made: ClassVar[list["StubProcess"]] = []
    asked: ClassVar[list[tuple[str, str]]] = []

    def __init__(self, configuration, limits, device_bytes):
        self.configuration = configuration
        self.started = time.perf_counter()
        self.peak_rss_bytes, self.peak_device_bytes = 1000, None
        self.closed = False
        StubProcess.made.append(self)

    def ask(self, request, **arguments):
        StubProcess.asked.append((request, self.configuration.variant))
        if request == "open":
            return {"load_s": 0.0, "first_s": 0.0, "facts": {}}
        return {"times_s": [float(self.configuration.source)] * 4, "busy_s": 0.0}

    def close(self):
        self.closed = True


class Reversed(random.Random):
    """Draws the reversed order, always."""

    def shuffle(self, x):
        x.reverse()

    def sample(self, population, k):
        return list(reversed(population))


@pytest.fixture
def stubbed(monkeypatch):
    """Interleave configurations by their variants' names, without processes; all that is asked."""
    monkeypatch.setattr(StubProcess, "made", [])
    monkeypatch.setattr(StubProcess, "asked", [])
    monkeypatch.setattr(interleave, "ConfigurationProcess", StubProcess)
    monkeypatch.setattr(interleave, "REST_S", 0.0)
    monkeypatch.setattr(interleave, "read_into_page_cache", lambda file: None)

    def run(*names, seconds=0.0, finish=lambda process, result: result, clock=time.perf_counter):
        order = Reversed()
        runs = InterleavedRuns(seconds, Limits(), order, finish, lambda line: None, clock)
        all_of_them = [
            replace(BASELINE, variant=name, source="1.0", baseline=name == "base") for name in names
        ]
        return list(runs.run(all_of_them))

    return run


def test_the_order_in_each_round_is_drawn(stubbed):
    results = stubbed("base", "a", "b")

    opened = [name for request, name in StubProcess.asked if request == "open"]
    ran = [name for request, name in StubProcess.asked if request == "round"]
    assert opened == ["base", "b", "a"]  # the baseline first, the others as drawn
    assert ran == ["a", "b", "base"] * 3
    assert [result.configuration.variant for result in results] == ["b", "a", "base"]


def test_all_processes_are_closed_at_the_end_and_after_an_error(stubbed):
    stubbed("base", "a", "b")
    assert [process.closed for process in StubProcess.made] == [True] * 3

    def interrupted(process, result):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stubbed("base", "a", finish=interrupted)
    assert [process.closed for process in StubProcess.made] == [True] * 5


def test_rounds_end_when_all_medians_are_known_or_the_time_is_up(stubbed):
    """Equal times are settled after ten of them, that is after three rounds of four."""

    def rounds_of(seconds, step):
        ticks = itertools.count(0, step)
        return [
            len(r.rounds) for r in stubbed("base", "a", seconds=seconds, clock=lambda: next(ticks))
        ]

    assert rounds_of(seconds=1e9, step=1) == [3, 3]
    assert rounds_of(seconds=0, step=1) == [3, 3]


def test_unsettled_times_run_until_the_time_is_up(stubbed, monkeypatch):
    monkeypatch.setattr(interleave.Running, "is_settled", False)
    ticks = itertools.count(0, 1.0)

    results = stubbed("base", "a", seconds=3.0, clock=lambda: next(ticks))

    # Six seconds for two configurations; a look at the clock each round, and one before the first.
    assert [len(result.rounds) for result in results] == [5, 5]
    without_end = stubbed("base", "a", seconds=1e9, clock=lambda: 0.0)
    assert [len(result.rounds) for result in without_end] == [60, 60]


@pytest.mark.parametrize(
    ("times", "settled"),
    [
        ([1.0 + 0.2 * i / 19 for i in range(20)], False),  # its median is known to 2 %
        ([1.0 + 0.002 * i / 19 for i in range(20)], True),
        ([1.0] * 9, False),
        ([1.0] * 10, True),
    ],
)
def test_a_median_is_known_when_its_standard_error_is_below_one_percent(times, settled):
    running = interleave.Running(
        None, None, None, rounds=[interleave.Round(0, 0, tuple(times), 0.0)]
    )

    assert running.is_settled is settled


def test_the_standard_error_of_a_median_is_that_of_samples():
    """Settled medians of normal samples scatter by a percent at most, unsettled ones by more."""
    rng = np.random.default_rng(0)

    def settled(sigma, count):
        times = tuple(1 + sigma * rng.standard_normal(count))
        runs = [interleave.Round(0, 0, times, 0.0)]
        return interleave.Running(None, None, None, rounds=runs).is_settled

    # 1.2533 * .05 / sqrt(n) is .01 at n = 39.
    assert np.mean([settled(0.05, 80) for _ in range(50)]) > 0.9
    assert np.mean([settled(0.05, 20) for _ in range(50)]) < 0.25


def test_guests_are_not_counted_twice(monkeypatch):
    names = "user nice system idle iowait irq softirq steal guest guest_nice"
    spent = namedtuple("spent", names)(100.0, 10.0, 20.0, 500.0, 30.0, 1.0, 2.0, 3.0, 40.0, 4.0)
    monkeypatch.setattr(psutil, "cpu_times", lambda: spent)

    # Linux counts guests within user and nice (proc(5)).
    assert interleave.machine_busy_s() == 100 + 10 + 20 + 1 + 2 + 3


def test_load_of_others_is_what_the_machine_was_busier_than_the_configuration(stubbed, monkeypatch):
    busy = itertools.count(0.0, 2.0)
    monkeypatch.setattr(interleave, "machine_busy_s", lambda: next(busy))
    now = itertools.count(0.0, 4.0)
    monkeypatch.setattr(interleave.time, "perf_counter", lambda: next(now))

    (result,) = stubbed("base", clock=lambda: 0.0)

    assert [runs.other_cores for runs in result.rounds] == [0.5, 0.5, 0.5]


def test_weights_beside_the_file_are_read_into_the_page_cache_as_well(tmp_path, monkeypatch):
    for name in ("model.onnx", "model.onnx_data", "other.onnx"):
        (tmp_path / name).write_bytes(b"x" * 100)
    opened = []
    real = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, *mode: opened.append(path.name) or real(path, *mode)
    )

    interleave.read_into_page_cache(tmp_path / "model.onnx")
    interleave.read_into_page_cache(tmp_path / "nowhere.onnx")

    assert opened == ["model.onnx", "model.onnx_data"]


@pytest.mark.parametrize("batch", [1, 2])
def test_pictures_are_those_of_batch_1(measure, tmp_path, batch):
    write_image(tmp_path / "photo.png")
    baseline = replace(BASELINE, batch=batch)

    found = measure(
        baseline, configuration("Off", 0.1, batch=batch), images=[tmp_path / "photo.png"]
    )

    assert all(len(result.previews) == (batch == 1) for result in found.values())
    assert found["Off"].graph.logits.max_abs == pytest.approx(0.1)
    assert [result.error for result in found.values()] == [None, None]


@pytest.mark.parametrize(("left", "fits"), [(1299, False), (1300, True)])
def test_the_first_of_a_workload_needs_four_times_its_file(monkeypatch, tmp_path, left, fits):
    (tmp_path / "model.onnx").write_bytes(b"x" * 250)
    monkeypatch.setattr(interleave, "memory_left_bytes", lambda: (left, 10**9))
    first = replace(BASELINE, source=str(tmp_path / "model.onnx"))

    assert interleave._fits(first, interleave.MemoryNeed()) is fits
    assert interleave._fits(first, interleave.MemoryNeed(host_bytes=900))


def test_the_need_is_the_most_that_one_has_taken():
    need = interleave.MemoryNeed(500, 40)
    less, more = (Peaks(100, 50), Peaks(700, None))

    assert need.including(less) == interleave.MemoryNeed(500, 50)
    assert need.including(more) == interleave.MemoryNeed(700, 40)


Peaks = namedtuple("Peaks", "peak_rss_bytes peak_device_bytes")
