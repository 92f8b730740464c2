"""The instrument on backends whose behavior is known: each in a process of its own."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from birefnet_benchmarks.bench import interleave as race_module
from birefnet_benchmarks.bench.accuracy import Answers
from birefnet_benchmarks.bench.configuration import Row
from birefnet_benchmarks.bench.interleave import Race
from birefnet_benchmarks.bench.measure.process import Limits

BASELINE = Row("fake", "backends:Known", "", "fp32", "cpu", (32, 64), 1, 1, "", baseline=True)
MEGABYTE = 1_000_000


@pytest.fixture(autouse=True)
def short_turns_of_backends_that_can_be_imported(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setattr(race_module, "TURN_S", 0.02)


def row(name, source="", **changes):
    changed = replace(BASELINE, backend=f"backends:{name}", source=str(source), baseline=False)
    return replace(changed, **changes)


@pytest.fixture
def race(tmp_path):
    """Race rows for next to no time; outcomes by backend, and what was said."""
    said = []

    def run(*rows, seconds=0.0, images=(), **limits):
        answers = Answers(images, tmp_path / "run", tmp_path)
        there = Race(seconds, Limits(**limits), random.Random(0), answers.finish, said.append)
        outcomes = list(there.run(rows))
        return {each.row.backend.partition(":")[2]: each for each in outcomes}

    run.said = said
    return run


def all_times(outcome):
    return [each for turn in outcome.turns for each in turn.times_s]


def test_a_known_sleep_is_measured(race, monkeypatch):
    monkeypatch.setattr(race_module, "TURN_S", 0.25)

    found = race(BASELINE, row("Sleeping", 0.1))

    times = all_times(found["Sleeping"])
    assert len(times) >= 9  # three turns, which end with the call that fills a quarter of a second
    assert np.median(times) == pytest.approx(0.1, rel=0.05)
    assert found["Sleeping"].cold.first_s == pytest.approx(0.1, rel=0.2)
    assert 0 < found["Sleeping"].cold.import_s < 60


def test_rows_take_turns_in_each_round_and_all_of_a_heat(race):
    found = race(BASELINE, row("Sleeping", 0.01), row("Off", 0.5))

    for outcome in found.values():
        assert [(turn.heat, turn.round) for turn in outcome.turns] == [(0, 0), (0, 1), (0, 2)]
        assert all(turn.others >= 0 for turn in outcome.turns)
    assert list(found)[-1] == "Known"  # the baseline's outcome is whole when all others are


def test_known_memory_shows_in_the_peak(race):
    found = race(BASELINE, row("Allocating", 400 * MEGABYTE))

    more = found["Allocating"].peak_rss_bytes - found["Known"].peak_rss_bytes
    assert 380 * MEGABYTE < more < 440 * MEGABYTE


@pytest.mark.parametrize("epsilon", [0.0, 1e-5, 0.02])
def test_a_known_epsilon_is_reported(race, tmp_path, epsilon):
    image = tmp_path / "photo.png"
    write_image(image)

    found = race(BASELINE, row("Off", epsilon), images=[image])

    graph = found["Off"].graph
    assert graph.logits.max_abs == pytest.approx(epsilon, abs=1e-7)
    assert graph.logits.mean_abs == pytest.approx(epsilon, abs=1e-7)
    slope = 0.2350  # of the sigmoid at one half
    assert graph.mask.p99_abs == pytest.approx(slope * epsilon, rel=0.01, abs=1e-7)
    assert (graph.problem is None) == (epsilon < 1e-3)
    (picture,) = found["Off"].pictures
    assert picture.parity.mae == pytest.approx(epsilon, abs=1e-7)
    assert picture.parity.max_levels == pytest.approx(255 * epsilon, abs=1e-4)
    assert found["Known"].graph is None
    assert found["Known"].pictures[0].parity is None
    for name in (picture.preview, picture.mask, picture.difference):
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
def test_what_can_not_be_compared_fails_and_keeps_its_times(race, name, said):
    outcome = race(BASELINE, row(name))[name]

    assert said in outcome.error
    assert len(outcome.turns) == 3
    assert outcome.graph is None


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
def test_a_row_that_fails_is_a_result_and_the_others_go_on(race, name, limits, said):
    found = race(BASELINE, row(name), row("Off", 0.5), **limits)

    assert found[name].error.startswith(said)
    assert "\n" not in found[name].error
    assert found[name].turns == ()
    assert found["Known"].error is None
    assert len(found["Off"].turns) == 3
    assert found["Off"].graph.logits.max_abs == pytest.approx(0.5)
    assert any(found[name].error in line for line in race.said)


def test_a_crash_in_a_turn_keeps_what_was_measured(race):
    outcome = race(BASELINE, row("Crashing"))["Crashing"]

    assert outcome.error == "crashed with SIGSEGV: about to fall"
    assert outcome.cold.first_s > 0
    assert outcome.peak_rss_bytes > 10 * MEGABYTE


def test_without_its_baseline_the_rest_is_measured_and_not_compared(race):
    found = race(replace(BASELINE, backend="backends:Raising"), row("Off", 0.5))

    assert found["Raising"].error == "ValueError: no such luck"
    assert len(found["Off"].turns) == 3
    assert found["Off"].graph is None


def test_rows_that_do_not_fit_together_run_in_heats_with_the_baseline(race, monkeypatch):
    room = iter([True, False, True])  # for Off; then none for Sleeping, until Off has left
    monkeypatch.setattr(race_module, "_fits", lambda row, need: next(room))

    found = race(BASELINE, row("Off", 0.5), row("Sleeping", 0.01))

    assert {turn.heat for turn in found["Known"].turns} == {0, 1}
    heats = [{turn.heat for turn in found[name].turns} for name in ("Off", "Sleeping")]
    assert sorted(heats, key=min) == [{0}, {1}]
    assert all(each.graph for name, each in found.items() if name != "Known")


def test_a_row_that_does_not_fit_beside_the_baseline_runs_alone(race, monkeypatch):
    monkeypatch.setattr(race_module, "_fits", lambda row, need: False)

    found = race(BASELINE, row("Off", 0.5))

    assert {turn.heat for turn in found["Known"].turns} == {0}
    assert {turn.heat for turn in found["Off"].turns} == {1}
    assert found["Off"].graph.logits.max_abs == pytest.approx(0.5)
    assert any("not in turn with the baseline" in line for line in race.said)


class Gpu:
    """A GPU with so much left."""

    def __init__(self, free_bytes):
        self.device_free_bytes = lambda: free_bytes


@pytest.mark.parametrize(
    ("left", "free", "fits"),
    [(3 * 10**9, None, True), (2 * 10**9, None, False), (3 * 10**9, 10**9, False),
     (3 * 10**9, 2 * 10**9, True)],
)  # fmt: skip
def test_a_row_fits_where_what_others_took_is_free(monkeypatch, left, free, fits):
    monkeypatch.setattr(race_module, "memory_left_bytes", lambda: (left, 8 * 10**9))
    monkeypatch.setattr(race_module, "meters_for", lambda provider: Gpu(free))
    need = race_module.Need(host_bytes=2 * 10**9, device_bytes=10**9)

    assert race_module._fits(BASELINE, need) == fits
