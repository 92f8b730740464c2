"""Two runs side by side: what is a regression, what is noise, what is another machine."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from birefnet_benchmarks.bench.results import BenchReport, ConfigurationResult, Round
from birefnet_benchmarks.errors import ReportError
from birefnet_benchmarks.report.comparison import Judgment, ResultPair, compare, resampled_medians
from birefnet_benchmarks.report.comparison_text import comparison_as_dict, text

from .sample import BASELINE, ENVIRONMENT, INT8, NATIVE, ROWS, close, make_report, preview, rounds

EXPECTED = Path(__file__).parent / "expected"


def run(*results: ConfigurationResult, **environment: object) -> BenchReport:
    machine = dataclasses.replace(ENVIRONMENT, **environment)
    return dataclasses.replace(make_report(), results=results, environment=machine)


def judged(
    before: ConfigurationResult, after: ConfigurationResult, threshold: float = 0.05
) -> ResultPair:
    (pair,) = compare(run(before), run(after), threshold).pairs
    return pair


def after() -> BenchReport:
    """The sample, later: slower, larger, wrong, failing, and without a configuration."""
    results = list(make_report().results)
    slower, noisy, failing = results[1], results[2], results[6]
    results[1] = dataclasses.replace(
        slower, rounds=rounds(2.9, 3.0, 3.1), peak_rss_bytes=900_000_000
    )
    results[2] = dataclasses.replace(noisy, rounds=rounds(2.9, 3.9, 3.1), graph=close(1, "off"))
    results[6] = dataclasses.replace(failing, rounds=(), error="crashed")
    packages = ENVIRONMENT.packages | {"torch": "2.14.0"}
    return run(*results[:-1], packages=packages)


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
    found = judged(
        ConfigurationResult(ROWS, rounds=rounds(1.0, 1.0, 1.0)),
        ConfigurationResult(ROWS, rounds=rounds(*times)),
    )

    assert found.judgments["time"] is judgment
    assert found.regressions == (("time",) if judgment is Judgment.WORSE else ())


def test_the_threshold_is_the_users():
    pair = (
        ConfigurationResult(ROWS, rounds=rounds(1.0, 1.0, 1.0)),
        ConfigurationResult(ROWS, rounds=rounds(1.2, 1.2, 1.2)),
    )

    assert judged(*pair, threshold=0.05).regressions == ("time",)
    assert judged(*pair, threshold=0.5).regressions == ()


def test_nothing_is_concluded_from_a_single_run():
    once = ConfigurationResult(ROWS, rounds=(Round(0, 0, (1.0,), 0),))
    slower = ConfigurationResult(ROWS, rounds=(Round(0, 0, (2.0,), 0),))

    found = judged(once, slower)

    assert found.time is not None
    assert found.time.interval is None
    assert found.time.judgment is Judgment.PERHAPS_WORSE


def test_the_interval_is_wider_where_rounds_disagree():
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
    less, more = (
        ConfigurationResult(ROWS, rounds=rounds(1.0), peak_rss_bytes=count)
        for count in (1000, 1051)
    )

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
    def result(problem: str | None) -> ConfigurationResult:
        shown = (preview("rows", 1, problem),)
        return ConfigurationResult(ROWS, graph=close(1e-3, problem), previews=shown)

    found = judged(result(before), result(now)).judgments

    assert found["graph parity"] is found["pipeline parity"] is judgment


def test_what_is_compared_for_the_first_time_and_differs_is_a_regression():
    assert judged(
        ConfigurationResult(ROWS), ConfigurationResult(ROWS, graph=close(1, "off"))
    ).regressions == ("graph parity",)
    assert (
        judged(ConfigurationResult(ROWS, graph=close(1)), ConfigurationResult(ROWS)).regressions
        == ()
    )


def test_a_configuration_that_fails_now_is_a_regression():
    runs, fails = (
        ConfigurationResult(ROWS, rounds=rounds(1.0)),
        ConfigurationResult(ROWS, error="crashed"),
    )

    assert judged(runs, fails).regressions == ("running",)
    assert judged(fails, runs).judgments["running"] is Judgment.RUNS
    assert judged(fails, fails).regressions == ()


def results(speed: float, ratio: float) -> tuple[ConfigurationResult, ...]:
    """A baseline at this speed, and a configuration at this ratio to it."""
    base = (speed, 1.1 * speed, 1.05 * speed)
    mine = rounds(*(ratio * each for each in base))
    return ConfigurationResult(BASELINE, rounds=rounds(*base)), ConfigurationResult(
        ROWS, rounds=mine
    )


def test_what_a_configuration_shares_with_its_baseline_is_the_machines():
    a = run(*results(8.0, 0.3))
    slower_machine, slower_row = run(*results(16.0, 0.3)), run(*results(8.0, 0.4))
    both = run(*results(16.0, 0.4))

    found = compare(a, slower_machine)
    assert not found.regressed
    assert [pair.judgments["time"] for pair in found.pairs] == [Judgment.DRIFTED] * 2
    assert "worse, as the machine is" in text(found, a, slower_machine, ("a", "b"))
    for later in (slower_row, both):
        assert [pair.regressions for pair in compare(a, later).pairs] == [(), ("time",)]


@pytest.mark.parametrize(
    ("ratios", "judgment"),
    [
        ((0.3, 0.3, 0.3), Judgment.DRIFTED),
        ((0.2, 0.2, 0.2), Judgment.DRIFTED),  # even better than before, beside its baseline
        ((0.29, 0.36, 0.36), Judgment.DRIFTED),  # perhaps worse, which is no proof
        ((0.4, 0.4, 0.4), Judgment.WORSE),
    ],
)
def test_on_a_slower_machine_only_a_worse_ratio_counts(ratios, judgment):
    slow = (16.0, 16.1, 16.2)
    mine = tuple(ratio * time_s for ratio, time_s in zip(ratios, slow, strict=True))
    before = run(*results(8.0, 0.3))
    after = run(
        ConfigurationResult(BASELINE, rounds=rounds(*slow)),
        ConfigurationResult(ROWS, rounds=rounds(*mine)),
    )
    if ratios[0] == 0.2:
        before = run(*results(4.0, 0.3))

    found = compare(before, after).pairs[1]

    assert found.judgments["time"] is judgment
    assert found.regressions == (("time",) if judgment is Judgment.WORSE else ())


@pytest.mark.parametrize(
    "other",
    [{"processor": "another"}, {"cores": 4}, {"gpus": ()}, {"gpus": ("Another GPU (8.0)",)}],
)
def test_processor_cores_and_gpus_make_a_machine(other):
    a, b = run(*results(8.0, 0.3)), run(*results(8.0, 0.3), **other)

    assert not compare(a, b).same_machine
    assert compare(a, run(*results(8.0, 0.3), driver="another")).same_machine


def test_a_baseline_that_is_a_graph_is_judged_as_well():
    graph = dataclasses.replace(NATIVE, baseline=True)
    times = [rounds(*(speed * each for each in (1.0, 1.1, 1.05))) for speed in (8.0, 16.0)]

    assert judged(*(ConfigurationResult(graph, rounds=each) for each in times)).regressions == (
        "time",
    )


def test_between_machines_the_ratio_to_the_baseline_is_judged():
    a = run(*results(8.0, 0.3))
    twice_as_slow = run(*results(16.0, 0.3), processor="another")
    worse = run(*results(4.0, 0.4), processor="another")

    assert not compare(a, twice_as_slow).regressed
    assert [pair.regressions for pair in compare(a, worse).pairs] == [(), ("time vs baseline",)]
    shown = text(compare(a, worse), a, worse, ("a", "b"))
    assert "   processor: Imaginary CPU -> another\n" in shown
    assert "Two machines:" in shown
    assert "time not judged" in shown  # the baseline's own


def test_another_baseline_is_no_common_measure():
    other = dataclasses.replace(NATIVE, baseline=True)
    a = run(
        ConfigurationResult(BASELINE, rounds=rounds(8.0)),
        ConfigurationResult(ROWS, rounds=rounds(2.0)),
    )
    b = run(
        ConfigurationResult(other, rounds=rounds(3.0)),
        ConfigurationResult(ROWS, rounds=rounds(2.0)),
    )

    (pair,) = compare(a, b).pairs

    assert pair.vs_baseline is None


def test_configurations_in_one_run_only_are_named():
    a = run(ConfigurationResult(ROWS), ConfigurationResult(NATIVE))
    b = run(ConfigurationResult(ROWS), ConfigurationResult(INT8))

    found = compare(a, b)

    assert (found.only_a, found.only_b) == ((NATIVE,), (INT8,))
    assert not found.regressed


def test_nothing_in_common_is_an_error():
    with pytest.raises(ReportError, match="no configuration in common"):
        compare(run(ConfigurationResult(ROWS)), run(ConfigurationResult(NATIVE)))


def test_where_a_model_came_from_does_not_set_configurations_apart():
    moved = dataclasses.replace(ROWS, source="elsewhere.onnx")

    assert len(compare(run(ConfigurationResult(ROWS)), run(ConfigurationResult(moved))).pairs) == 1


def test_the_values_for_json(report):
    later = after()

    found = comparison_as_dict(compare(report, later))

    assert found["regressed"] is True
    assert found["environment"] == {"torch": ("2.13.0", "2.14.0")}
    configuration = found["configurations"][1]
    assert (configuration["configuration"]["variant"], configuration["regressions"]) == (
        "rows",
        ("time", "memory"),
    )
    assert configuration["time"]["ratio"] == pytest.approx(3.016 / 2.6)
    assert len(found["only_a"]) == 1
