"""Derived figures against ones worked out by hand."""

import dataclasses
import math

import pytest
from birefnet_benchmarks.bench.results import ColdStart, ConfigurationResult, Round
from birefnet_benchmarks.report import statistics

from .sample import BASELINE, INT8, ROWS, close, make_report, preview, rounds


def timed(*times: float, other_cores: float = 0.0) -> ConfigurationResult:
    return ConfigurationResult(ROWS, rounds=(Round(0, 0, times, other_cores),))


def test_the_statistics_of_warm_times():
    found = statistics.timing(timed(*(float(i) for i in range(20, 0, -1))))

    assert found == statistics.Timing(20, 10.5, 19.0, (5.75, 15.25))
    assert found.spread == pytest.approx(9.5 / 10.5)


def test_p95_of_few_runs_is_the_slowest():
    found = statistics.timing(timed(1.0, 3.0, 2.0))

    assert found is not None
    assert found.p95_s == 3.0


def test_all_rounds_count_and_one_run_has_no_spread():
    both = ConfigurationResult(
        ROWS, rounds=(Round(0, 0, (1.0,), 0), Round(0, 1, (), 0), Round(1, 0, (3.0,), 0))
    )
    one = statistics.timing(timed(2.0))

    assert statistics.times_s(both) == (1.0, 3.0)
    assert one is not None
    assert one.spread == 0
    assert statistics.timing(ConfigurationResult(ROWS)) is None


@pytest.mark.parametrize(
    ("result", "noisy"),
    [
        (timed(1.0, 1.0, 1.05, 1.1), False),
        (timed(1.0, 1.0, 1.3, 1.3), True),  # quartiles 1.0 and 1.3
        (timed(1.0, 1.0, other_cores=0.25), False),
        (timed(1.0, 1.0, other_cores=0.26), True),
        (ConfigurationResult(ROWS), False),
    ],
)
def test_a_configuration_is_noisy_by_its_spread_or_by_others(result, noisy):
    assert statistics.is_noisy(result) is noisy


def test_others_are_weighed_by_time():
    result = ConfigurationResult(ROWS, rounds=(Round(0, 0, (3.0,), 0.0), Round(0, 1, (1.0,), 1.0)))

    assert statistics.other_cores(result) == 0.25


def test_throughput_is_the_batch_over_the_median():
    result = ConfigurationResult(dataclasses.replace(ROWS, batch=4), rounds=rounds(2.0))

    assert statistics.images_per_s(result) == 2.0


def test_energy_counts_the_rounds_where_it_was_read():
    configuration = dataclasses.replace(ROWS, batch=2)
    result = ConfigurationResult(
        configuration,
        rounds=(
            Round(0, 0, (1.0, 1.0), 0, 20.0),
            Round(0, 1, (1.0,), 0),
            Round(0, 2, (1.0,), 0, 4.0),
        ),
    )

    assert statistics.energy_per_image_j(result) == 4.0
    assert (
        statistics.energy_per_image_j(ConfigurationResult(configuration, rounds=rounds(1.0)))
        is None
    )


def test_a_ratio_is_taken_round_by_round():
    """The machine slows down threefold: the ratio of medians is off, that of the rounds isn't."""
    baseline = ConfigurationResult(BASELINE, rounds=rounds(1.0, 2.0, 3.0))
    result = ConfigurationResult(ROWS, rounds=rounds(0.5, 1.2, 1.5)[1:] + rounds(9.0, group=1))

    found = statistics.median_ratio(result, baseline)

    assert found is not None
    assert (found.value, found.rounds) == (pytest.approx(0.55), 2)
    assert found.quartiles == pytest.approx((0.525, 0.575))


def test_a_ratio_without_a_shared_round_says_so():
    found = statistics.median_ratio(
        ConfigurationResult(ROWS, rounds=rounds(1.0, group=1)),
        ConfigurationResult(BASELINE, rounds=rounds(4.0)),
    )

    assert found == statistics.Ratio(0.25, (0.25, 0.25), 0)
    assert (
        statistics.median_ratio(
            ConfigurationResult(ROWS), ConfigurationResult(BASELINE, rounds=rounds(4.0))
        )
        is None
    )


def grown(exponent: float, **changes: object) -> list[ConfigurationResult]:
    configurations = [
        dataclasses.replace(ROWS, size=(side, 2 * side), **changes) for side in (256, 512, 1024)
    ]
    return [
        ConfigurationResult(
            configuration, rounds=rounds(1e-6 * math.prod(configuration.size) ** exponent)
        )
        for configuration in configurations
    ]


def test_the_exponent_over_pixels_is_found():
    results = [
        *grown(1.25),
        *grown(1.0, batch=2),
        *grown(2.0, threads=1),
        ConfigurationResult(BASELINE),
    ]

    found = statistics.over_size(results[0].configuration, results)

    assert found is not None
    assert found.exponent == pytest.approx(1.25)
    assert found.constant == pytest.approx(1e-6)
    assert [x for x, _ in found.points] == [2 * 256**2, 2 * 512**2, 2 * 1024**2]


def test_the_exponent_over_batch_is_found():
    configurations = [dataclasses.replace(ROWS, batch=batch) for batch in (4, 1, 2)]
    results = [
        ConfigurationResult(configuration, rounds=rounds(0.5 * configuration.batch**0.8))
        for configuration in configurations
    ]

    found = statistics.over_batch(configurations[0], results)

    assert found is not None
    assert (found.exponent, found.constant) == (pytest.approx(0.8), pytest.approx(0.5))


def test_one_point_is_no_line():
    results = [
        ConfigurationResult(ROWS, rounds=rounds(1.0)),
        ConfigurationResult(dataclasses.replace(ROWS, size=(32, 32))),
    ]

    assert statistics.over_size(ROWS, results) is None


def test_the_roofline_is_the_best_product_of_so_many_threads():
    report = make_report()

    assert statistics.roofline_s(ROWS, report) == 2 * 3.19e11 / 2.5e11
    assert statistics.roofline_share(
        ConfigurationResult(ROWS, rounds=rounds(2.0)), report
    ) == pytest.approx(1.276)
    assert statistics.roofline_share(ConfigurationResult(ROWS), report) is None


@pytest.mark.parametrize(
    "changes",
    [{"precision": "int8"}, {"provider": "cuda"}, {"threads": 4}, {"batch": 8}, {"model": "x"}],
)
def test_there_is_no_roofline_where_it_means_nothing(changes):
    assert statistics.roofline_s(dataclasses.replace(ROWS, **changes), make_report()) is None


def test_the_worst_of_several_images_is_taken_for_each_number():
    result = ConfigurationResult(
        INT8, previews=tuple(preview("rows", levels) for levels in (20, 60, 40))
    )

    worst = statistics.worst_parity(result)

    assert worst == statistics.WorstParity(
        images=3,
        mae=60 / 2550,
        max_levels=60,
        iou=0.94,
        band_mae=60 / 510,
        band_max_levels=60,
        boundary_iou=0.4,
        problem=None,
    )
    assert not statistics.differs(result)


def test_a_result_differs_by_its_graph_alone_or_its_pipeline_alone():
    assert statistics.differs(ConfigurationResult(INT8, graph=close(1, "off")))
    assert statistics.differs(ConfigurationResult(INT8, previews=(preview("int8", 60, "off"),)))
    both = ConfigurationResult(INT8, graph=close(1), previews=(preview("int8", 60),))
    assert not statistics.differs(both)


def test_what_was_not_measured_is_none_and_not_zero():
    nothing = ConfigurationResult(ROWS)

    assert statistics.cold_start_s(nothing) is None
    assert statistics.images_per_s(nothing) is None
    assert statistics.energy_per_image_j(nothing) is None
    assert statistics.other_cores(nothing) == 0.0
    assert statistics.cold_start_s(ConfigurationResult(ROWS, ColdStart(0.25, 0.5, 2.0))) == 2.75


def test_rounds_are_matched_by_group_and_number():
    baseline = ConfigurationResult(BASELINE, rounds=(*rounds(1.0, 2.0), *rounds(4.0, group=1)))
    result = ConfigurationResult(ROWS, rounds=(*rounds(0.5, group=1), *rounds(0.5, 0.5)))

    assert sorted(statistics.round_ratios(result, baseline)) == [0.125, 0.25, 0.5]


def test_pipeline_parity_is_that_of_the_worst_picture():
    edgeless = preview("rows", 3)
    assert edgeless.parity
    parity = dataclasses.replace(edgeless.parity, band_mae=None, band_max_levels=None)
    edgeless = dataclasses.replace(edgeless, parity=parity)
    result = ConfigurationResult(
        INT8, previews=(edgeless, preview("rows", 60, "too much", "cat"), preview("eager", 0))
    )

    found = statistics.worst_parity(result)

    assert found is not None
    assert (found.images, found.max_levels, found.iou) == (2, 60, 0.94)
    assert (found.boundary_iou, found.band_max_levels) == (0.4, 60)
    assert found.problem == "cat.jpg: too much"
    assert statistics.differs(result)
    alone = statistics.worst_parity(ConfigurationResult(ROWS, previews=(edgeless,)))
    assert alone is not None
    assert (alone.band_mae, alone.band_max_levels, alone.problem) == (None, None, None)
    assert (
        statistics.worst_parity(ConfigurationResult(BASELINE, previews=(preview("eager", 0),)))
        is None
    )
