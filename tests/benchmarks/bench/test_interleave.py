"""The instrument on backends whose behavior is known: each in a process of its own."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
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


@pytest.mark.parametrize(
    ("name", "limits", "said"),
    [
        ("Raising", {}, "ValueError: no such luck"),
        ("Exiting", {}, "ended by itself with exit code 7: leaving"),
        ("Hanging", {"timeout_s": 1.0}, "out of time: opening and its first run took longer than"),
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
