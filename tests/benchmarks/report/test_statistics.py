"""Derived figures against ones worked out by hand."""

import dataclasses
import math

import pytest
from birefnet_benchmarks.bench.results import Outcome, Turn
from birefnet_benchmarks.report import statistics as figures

from .sample import BASELINE, INT8, ROWS, make_report, picture, turns


def timed(*times: float, others: float = 0.0) -> Outcome:
    return Outcome(ROWS, turns=(Turn(0, 0, times, others),))


def test_the_figures_of_warm_times():
    found = figures.timing(timed(*(float(i) for i in range(20, 0, -1))))

    assert found == figures.Timing(20, 10.5, 19.0, 5.75, 15.25)
    assert found.spread == pytest.approx(9.5 / 10.5)


def test_p95_of_few_runs_is_the_slowest():
    found = figures.timing(timed(1.0, 3.0, 2.0))

    assert found is not None
    assert found.p95_s == 3.0


def test_all_turns_count_and_one_run_has_no_spread():
    both = Outcome(ROWS, turns=(Turn(0, 0, (1.0,), 0), Turn(0, 1, (), 0), Turn(1, 0, (3.0,), 0)))
    one = figures.timing(timed(2.0))

    assert figures.times_s(both) == (1.0, 3.0)
    assert one is not None
    assert one.spread == 0
    assert figures.timing(Outcome(ROWS)) is None


@pytest.mark.parametrize(
    ("outcome", "noisy"),
    [
        (timed(1.0, 1.0, 1.05, 1.1), False),
        (timed(1.0, 1.0, 1.3, 1.3), True),  # quartiles 1.0 and 1.3
        (timed(1.0, 1.0, others=0.25), False),
        (timed(1.0, 1.0, others=0.26), True),
        (Outcome(ROWS), False),
    ],
)
def test_a_row_is_noisy_by_its_spread_or_by_others(outcome, noisy):
    assert figures.is_noisy(outcome) is noisy


def test_others_are_weighed_by_time():
    outcome = Outcome(ROWS, turns=(Turn(0, 0, (3.0,), 0.0), Turn(0, 1, (1.0,), 1.0)))

    assert figures.others(outcome) == 0.25


def test_throughput_is_the_batch_over_the_median():
    outcome = Outcome(dataclasses.replace(ROWS, batch=4), turns=turns(2.0))

    assert figures.images_per_s(outcome) == 2.0


def test_energy_counts_the_turns_where_it_was_read():
    row = dataclasses.replace(ROWS, batch=2)
    outcome = Outcome(
        row,
        turns=(Turn(0, 0, (1.0, 1.0), 0, 20.0), Turn(0, 1, (1.0,), 0), Turn(0, 2, (1.0,), 0, 4.0)),
    )

    assert figures.energy_per_image_j(outcome) == 4.0
    assert figures.energy_per_image_j(Outcome(row, turns=turns(1.0))) is None


def test_a_ratio_is_taken_round_by_round():
    """The machine slows down threefold: the ratio of medians is off, that of the rounds isn't."""
    baseline = Outcome(BASELINE, turns=turns(1.0, 2.0, 3.0))
    outcome = Outcome(ROWS, turns=turns(0.5, 1.2, 1.5)[1:] + turns(9.0, heat=1))

    found = figures.ratio(outcome, baseline)

    assert found is not None
    assert (found.value, found.rounds) == (pytest.approx(0.55), 2)
    assert (found.first_quartile, found.third_quartile) == pytest.approx((0.525, 0.575))


def test_a_ratio_without_a_shared_round_says_so():
    found = figures.ratio(
        Outcome(ROWS, turns=turns(1.0, heat=1)), Outcome(BASELINE, turns=turns(4.0))
    )

    assert found == figures.Ratio(0.25, 0.25, 0.25, 0)
    assert figures.ratio(Outcome(ROWS), Outcome(BASELINE, turns=turns(4.0))) is None


def grown(exponent: float, **changes: object) -> list[Outcome]:
    rows = [
        dataclasses.replace(ROWS, size=(side, 2 * side), **changes) for side in (256, 512, 1024)
    ]
    return [Outcome(row, turns=turns(1e-6 * math.prod(row.size) ** exponent)) for row in rows]


def test_the_exponent_over_pixels_is_found():
    outcomes = [*grown(1.25), *grown(1.0, batch=2), *grown(2.0, threads=1), Outcome(BASELINE)]

    found = figures.over_size(outcomes[0].row, outcomes)

    assert found is not None
    assert found.exponent == pytest.approx(1.25)
    assert found.constant == pytest.approx(1e-6)
    assert [x for x, _ in found.points] == [2 * 256**2, 2 * 512**2, 2 * 1024**2]


def test_the_exponent_over_batch_is_found():
    rows = [dataclasses.replace(ROWS, batch=batch) for batch in (4, 1, 2)]
    outcomes = [Outcome(row, turns=turns(0.5 * row.batch**0.8)) for row in rows]

    found = figures.over_batch(rows[0], outcomes)

    assert found is not None
    assert (found.exponent, found.constant) == (pytest.approx(0.8), pytest.approx(0.5))


def test_one_point_is_no_line():
    outcomes = [Outcome(ROWS, turns=turns(1.0)), Outcome(dataclasses.replace(ROWS, size=(32, 32)))]

    assert figures.over_size(ROWS, outcomes) is None


def test_the_floor_is_the_best_product_of_so_many_threads():
    report = make_report()

    assert figures.floor_s(ROWS, report) == 2 * 3.19e11 / 2.5e11
    assert figures.floor_share(Outcome(ROWS, turns=turns(2.0)), report) == pytest.approx(1.276)
    assert figures.floor_share(Outcome(ROWS), report) is None


@pytest.mark.parametrize(
    "changes",
    [{"precision": "int8"}, {"provider": "cuda"}, {"threads": 4}, {"batch": 8}, {"model": "x"}],
)
def test_there_is_no_floor_where_it_means_nothing(changes):
    assert figures.floor_s(dataclasses.replace(ROWS, **changes), make_report()) is None


def test_pipeline_parity_is_that_of_the_worst_picture():
    edgeless = picture("rows", 3)
    assert edgeless.parity
    parity = dataclasses.replace(edgeless.parity, band_mae=None, band_max_levels=None)
    edgeless = dataclasses.replace(edgeless, parity=parity)
    outcome = Outcome(
        INT8, pictures=(edgeless, picture("rows", 60, "too much", "cat"), picture("eager", 0))
    )

    found = figures.pipeline(outcome)

    assert found is not None
    assert (found.pictures, found.max_levels, found.iou) == (2, 60, 0.94)
    assert (found.boundary_iou, found.band_max_levels) == (0.4, 60)
    assert found.problem == "cat.jpg: too much"
    assert figures.differs(outcome)
    alone = figures.pipeline(Outcome(ROWS, pictures=(edgeless,)))
    assert alone is not None
    assert (alone.band_mae, alone.band_max_levels, alone.problem) == (None, None, None)
    assert figures.pipeline(Outcome(BASELINE, pictures=(picture("eager", 0),))) is None
