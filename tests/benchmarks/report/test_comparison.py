"""Two runs side by side: what is a regression, what is noise, what is another machine."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from birefnet_benchmarks.bench.results import Outcome, Report, Turn
from birefnet_benchmarks.errors import ReportError
from birefnet_benchmarks.report.comparison import Judgment, Pair, compare, resampled_medians
from birefnet_benchmarks.report.comparison_text import as_dict, text

from .sample import BASELINE, ENVIRONMENT, INT8, NATIVE, ROWS, close, make_report, picture, turns

EXPECTED = Path(__file__).parent / "expected"


def run(*outcomes: Outcome, **environment: object) -> Report:
    machine = dataclasses.replace(ENVIRONMENT, **environment)
    return dataclasses.replace(make_report(), outcomes=outcomes, environment=machine)


def judged(before: Outcome, after: Outcome, threshold: float = 0.05) -> Pair:
    (pair,) = compare(run(before), run(after), threshold).pairs
    return pair


def after() -> Report:
    """The sample, later: slower, larger, wrong, failing, and without a row."""
    outcomes = list(make_report().outcomes)
    slower, noisy, failing = outcomes[1], outcomes[2], outcomes[6]
    outcomes[1] = dataclasses.replace(
        slower, turns=turns(2.9, 3.0, 3.1), peak_rss_bytes=900_000_000
    )
    outcomes[2] = dataclasses.replace(noisy, turns=turns(2.9, 3.9, 3.1), graph=close(1, "off"))
    outcomes[6] = dataclasses.replace(failing, turns=(), error="crashed")
    packages = ENVIRONMENT.packages | {"torch": "2.14.0"}
    return run(*outcomes[:-1], packages=packages)


def test_the_whole_text(report):
    later = after()

    found = text(compare(report, later), report, later, ("before", "after"))

    assert found == (EXPECTED / "comparison.txt").read_text(encoding="utf-8")


def test_a_run_against_itself_has_no_regression(report):
    found = compare(report, report)

    assert not found.regressed
    assert (found.only_a, found.only_b, found.environment) == ((), (), {})
    assert {pair.time.ratio for pair in found.pairs if pair.time} == {1.0}


@pytest.mark.parametrize(
    ("times", "judgment"),
    [
        ((1.2, 1.21, 1.22), Judgment.WORSE),
        ((0.8, 0.81, 0.82), Judgment.BETTER),
        ((1.02, 1.02, 1.02), Judgment.SAME),
        ((1.0, 1.3, 1.3), Judgment.PERHAPS_WORSE),
        ((1.0, 0.7, 0.7), Judgment.PERHAPS_BETTER),
    ],
)
def test_only_what_lies_beyond_noise_counts(times, judgment):
    found = judged(Outcome(ROWS, turns=turns(1.0, 1.0, 1.0)), Outcome(ROWS, turns=turns(*times)))

    assert found.judgments["time"] is judgment
    assert found.regressions == (("time",) if judgment is Judgment.WORSE else ())


def test_the_threshold_is_the_users():
    pair = Outcome(ROWS, turns=turns(1.0, 1.0, 1.0)), Outcome(ROWS, turns=turns(1.2, 1.2, 1.2))

    assert judged(*pair, threshold=0.05).regressions == ("time",)
    assert judged(*pair, threshold=0.5).regressions == ()


def test_nothing_is_concluded_from_a_single_run():
    once = Outcome(ROWS, turns=(Turn(0, 0, (1.0,), 0),))
    slower = Outcome(ROWS, turns=(Turn(0, 0, (2.0,), 0),))

    found = judged(once, slower)

    assert found.time is not None
    assert found.time.interval is None
    assert found.time.judgment is Judgment.PERHAPS_WORSE


def test_the_interval_is_wider_where_turns_disagree():
    """Thirty runs that agree within their turns say no more than three."""
    rng = np.random.default_rng(7)
    alone = rng.normal(1.0, 0.1, 30)
    turned = np.repeat(rng.normal(1.0, 0.1, 3), 10) + rng.normal(0, 0.001, 30)

    single = resampled_medians([list(alone)], np.random.default_rng(0))
    grouped = resampled_medians(
        [list(each) for each in turned.reshape(3, 10)], np.random.default_rng(0)
    )

    assert np.std(grouped) > 2 * np.std(single)


def test_resampled_medians_are_those_of_samples():
    """Of a sample large enough, they scatter as theory says: 1.2533 sigma / sqrt(n)."""
    values = np.random.default_rng(3).normal(10.0, 1.0, 400)

    found = resampled_medians([list(values)], np.random.default_rng(0))

    assert found.shape == (2000,)
    assert np.median(found) == pytest.approx(np.median(values), abs=0.02)
    assert np.std(found) == pytest.approx(1.2533 / 20, rel=0.35)


def test_memory_is_judged_by_its_peak():
    less, more = (Outcome(ROWS, turns=turns(1.0), peak_rss_bytes=count) for count in (1000, 1051))

    assert judged(less, more).regressions == ("memory",)
    assert judged(more, less).judgments["memory"] is Judgment.SAME
    assert judged(less, dataclasses.replace(more, peak_rss_bytes=None)).regressions == ()


@pytest.mark.parametrize(
    ("before", "now", "judgment"),
    [
        (None, "off", Judgment.DIFFERS),
        ("off", None, Judgment.AGREES),
        ("off", "off", Judgment.SAME),
        (None, None, Judgment.SAME),
    ],
)
def test_parity_is_judged_as_graph_and_as_pipeline(before, now, judgment):
    def outcome(problem: str | None) -> Outcome:
        shown = (picture("rows", 1, problem),)
        return Outcome(ROWS, graph=close(1e-3, problem), pictures=shown)

    found = judged(outcome(before), outcome(now)).judgments

    assert found["graph parity"] is found["pipeline parity"] is judgment


def test_what_is_compared_for_the_first_time_and_differs_is_a_regression():
    assert judged(Outcome(ROWS), Outcome(ROWS, graph=close(1, "off"))).regressions == (
        "graph parity",
    )
    assert judged(Outcome(ROWS, graph=close(1)), Outcome(ROWS)).regressions == ()


def test_a_row_that_fails_now_is_a_regression():
    runs, fails = Outcome(ROWS, turns=turns(1.0)), Outcome(ROWS, error="crashed")

    assert judged(runs, fails).regressions == ("it",)
    assert judged(fails, runs).judgments["it"] is Judgment.RUNS
    assert judged(fails, fails).regressions == ()


def outcomes(speed: float, ratio: float) -> tuple[Outcome, ...]:
    """A baseline at this speed, and a row at this ratio to it."""
    base = (speed, 1.1 * speed, 1.05 * speed)
    mine = turns(*(ratio * each for each in base))
    return Outcome(BASELINE, turns=turns(*base)), Outcome(ROWS, turns=mine)


def test_what_a_row_shares_with_its_baseline_is_the_machines():
    a = run(*outcomes(8.0, 0.3))
    slower_machine, slower_row = run(*outcomes(16.0, 0.3)), run(*outcomes(8.0, 0.4))
    both = run(*outcomes(16.0, 0.4))

    found = compare(a, slower_machine)
    assert not found.regressed
    assert [pair.judgments["time"] for pair in found.pairs] == [Judgment.DRIFTED] * 2
    assert "worse, as the machine is" in text(found, a, slower_machine, ("a", "b"))
    for later in (slower_row, both):
        assert [pair.regressions for pair in compare(a, later).pairs] == [(), ("time",)]


def test_a_baseline_that_is_a_graph_is_judged_as_well():
    graph = dataclasses.replace(NATIVE, baseline=True)
    times = [turns(*(speed * each for each in (1.0, 1.1, 1.05))) for speed in (8.0, 16.0)]

    assert judged(*(Outcome(graph, turns=each) for each in times)).regressions == ("time",)


def test_between_machines_the_ratio_to_the_baseline_is_judged():
    a = run(*outcomes(8.0, 0.3))
    twice_as_slow = run(*outcomes(16.0, 0.3), processor="another")
    worse = run(*outcomes(4.0, 0.4), processor="another")

    assert not compare(a, twice_as_slow).regressed
    assert [pair.regressions for pair in compare(a, worse).pairs] == [(), ("time vs baseline",)]
    shown = text(compare(a, worse), a, worse, ("a", "b"))
    assert "   processor: Imaginary CPU -> another\n" in shown
    assert "Two machines:" in shown
    assert "time not judged" in shown  # the baseline's own


def test_another_baseline_is_no_common_measure():
    other = dataclasses.replace(NATIVE, baseline=True)
    a = run(Outcome(BASELINE, turns=turns(8.0)), Outcome(ROWS, turns=turns(2.0)))
    b = run(Outcome(other, turns=turns(3.0)), Outcome(ROWS, turns=turns(2.0)))

    (pair,) = compare(a, b).pairs

    assert pair.against_baseline is None


def test_rows_in_one_run_only_are_named():
    a = run(Outcome(ROWS), Outcome(NATIVE))
    b = run(Outcome(ROWS), Outcome(INT8))

    found = compare(a, b)

    assert (found.only_a, found.only_b) == ((NATIVE,), (INT8,))
    assert not found.regressed


def test_nothing_in_common_is_an_error():
    with pytest.raises(ReportError, match="no row in common"):
        compare(run(Outcome(ROWS)), run(Outcome(NATIVE)))


def test_where_a_model_came_from_does_not_set_rows_apart():
    moved = dataclasses.replace(ROWS, source="elsewhere.onnx")

    assert len(compare(run(Outcome(ROWS)), run(Outcome(moved))).pairs) == 1


def test_the_values_for_json(report):
    later = after()

    found = as_dict(compare(report, later))

    assert found["regressed"] is True
    assert found["environment"] == {"torch": ("2.13.0", "2.14.0")}
    row = found["rows"][1]
    assert (row["row"]["variant"], row["regressions"]) == ("rows", ("time", "memory"))
    assert row["time"]["ratio"] == pytest.approx(3.016 / 2.6)
    assert len(found["only_a"]) == 1
