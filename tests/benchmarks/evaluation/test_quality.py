import math

import numpy as np
import py_sod_metrics
import pytest
from birefnet_benchmarks.errors import DatasetError
from birefnet_benchmarks.evaluation.dataset import SUBJECT_LEVEL
from birefnet_benchmarks.evaluation.quality import EFFORTS, METRICS, Tally, metrics

EMPTY = np.zeros((40, 60), np.uint8)
SQUARE = EMPTY.copy()
SQUARE[10:30, 10:30] = 255
LEFT_HALF = EMPTY.copy()
LEFT_HALF[10:30, 10:20] = 255
SHARE = 400 / 2400
"""Of the image that the square covers."""


def tally_of(*pairs, efforts=False):
    tally = Tally(efforts)
    for found, expected in pairs:
        tally.add(found, expected)
    return tally


def soft_pairs(count=4):
    """Blurred discs and what a mediocre model might make of them."""
    random = np.random.default_rng(5)
    rows, columns = np.mgrid[:40, :60]
    for _ in range(count):
        distance = np.hypot(rows - random.integers(10, 30), columns - random.integers(15, 45))
        truth = np.where(distance < random.integers(6, 14), 255, 0).astype(np.uint8)
        found = np.clip(255 - 14 * distance + random.normal(0, 30, distance.shape), 0, 255)
        yield found.astype(np.uint8), truth


def test_a_perfect_mask_has_perfect_scores():
    scores = tally_of((SQUARE, SQUARE), efforts=True).scores()

    for key in ("s_measure", "weighted_f", "max_f", "max_e", "iou", "boundary_iou"):
        assert scores[key] == pytest.approx(1, abs=1e-3), key
    assert scores["mae"] == scores["alpha_mae"] == scores["hce"] == 0
    # Below the lowest threshold all is found: one of the 256 is always wrong.
    assert 0.99 < scores["mean_e"] < 1


def test_an_inverted_mask_has_none():
    scores = tally_of((255 - SQUARE, SQUARE)).scores()

    for key in ("s_measure", "weighted_f", "mean_e", "iou", "boundary_iou"):
        assert scores[key] == pytest.approx(0, abs=0.01), key
    assert scores["mae"] == scores["alpha_mae"] == 1


def test_half_of_a_square():
    scores = tally_of((LEFT_HALF, SQUARE)).scores()

    assert scores["iou"] == 0.5
    assert scores["mae"] == scores["alpha_mae"] == pytest.approx(SHARE / 2)
    # Precision 1 and recall .5, with beta² of .3.
    assert scores["max_f"] == pytest.approx(1.3 * 0.5 / (0.3 + 0.5))


def test_a_faint_mask_is_stretched_but_for_the_error_of_alpha():
    faint = (SQUARE // 255) * 50  # 50 of 255 on the subject

    scores = tally_of((faint, SQUARE)).scores()

    assert (scores["mae"], scores["iou"]) == (0, 1)
    assert scores["alpha_mae"] == pytest.approx(SHARE * 205 / 255)


@pytest.mark.parametrize(("level", "expected"), [(100, 1.0), (127, 1.0), (129, 0.0)])
def test_the_boundary_is_where_the_mask_passes_half(level, expected):
    """All of the picture but a stripe at the right has the level; the square is white on it."""
    soft = np.full_like(EMPTY, level)
    soft[:, 50:] = 0  # black, so that nothing is stretched
    soft[10:30, 10:30] = 255
    if expected:
        assert tally_of((soft, SQUARE)).scores()["boundary_iou"] == expected
    else:
        assert tally_of((soft, SQUARE)).scores()["boundary_iou"] < 0.5


def test_a_soft_truth_counts_from_above_half_but_for_the_error_of_alpha():
    soft = EMPTY.copy()
    soft[10:30, 10:20], soft[10:30, 20:30] = 200, 100

    scores = tally_of((LEFT_HALF, soft)).scores()

    assert (scores["mae"], scores["iou"]) == (0, 1)
    assert scores["alpha_mae"] == pytest.approx(SHARE / 2 * (55 + 100) / 255)


def test_figures_are_those_of_the_library_fed_with_8_bits():
    pairs = list(soft_pairs())
    scores = tally_of(*pairs).scores()

    structure, weighted = py_sod_metrics.Smeasure(), py_sod_metrics.WeightedFmeasure()
    alignment, error = py_sod_metrics.Emeasure(), py_sod_metrics.MAE()
    with pytest.warns(UserWarning, match="FmeasureV2"):
        older = py_sod_metrics.Fmeasure()
    for found, truth in pairs:
        for each in (structure, weighted, alignment, error, older):
            each.step(found, truth)
    curve = alignment.get_results()["em"]["curve"]
    assert scores["s_measure"] == structure.get_results()["sm"]
    assert scores["weighted_f"] == weighted.get_results()["wfm"]
    assert scores["mae"] == error.get_results()["mae"]
    assert scores["max_f"] == pytest.approx(older.get_results()["fm"]["curve"].max())
    assert (scores["mean_e"], scores["max_e"]) == (curve.mean(), curve.max())


def test_many_are_the_mean_of_each_but_for_the_best_thresholds():
    pairs = list(soft_pairs())
    each = [tally_of(pair).scores() for pair in pairs]
    scores = tally_of(*pairs).scores()

    for key in scores.keys() - {"max_f", "max_e"}:
        assert scores[key] == pytest.approx(np.mean([one[key] for one in each])), key
    for key in ("max_f", "max_e"):
        assert scores[key] < np.mean([one[key] for one in each])


def test_tallies_add_up():
    pairs = [*soft_pairs(), (SQUARE // 255 * 50, SQUARE), (EMPTY, EMPTY)]
    merged = Tally(efforts=True)
    for pair in pairs:
        merged.merge(tally_of(pair, efforts=True))

    assert merged.scores() == tally_of(*pairs, efforts=True).scores()
    assert (merged.images, merged.stretched, merged.empty) == (6, 1, 1)


def test_every_metric_has_its_figure():
    for efforts in (False, True):
        scores = tally_of((SQUARE, SQUARE), efforts=efforts).scores()
        assert list(scores) == [metric.key for metric in metrics(efforts)]
    assert metrics(efforts=True) == (*METRICS, EFFORTS)


@pytest.mark.parametrize(("brightest", "stretched"), [(0, 0), (1, 1), (127, 1), (128, 0)])
def test_a_mask_is_stretched_that_spans_less_than_half_of_the_levels(brightest, stretched):
    assert tally_of((SQUARE // 255 * brightest, SQUARE)).stretched == stretched


def test_masks_without_a_subject_are_counted():
    tally = tally_of((EMPTY, EMPTY), (SQUARE // 255 * 50, SQUARE))

    assert (tally.images, tally.empty, tally.stretched) == (2, 1, 1)
    assert all(map(math.isfinite, tally.scores().values()))
    assert tally_of((EMPTY, EMPTY)).scores()["iou"] == 0


@pytest.mark.parametrize("place", [np.s_[-1, :], np.s_[:, -1], np.s_[-1, -1]])
def test_a_subject_that_the_library_would_score_with_nan_is_refused(place):
    edge = EMPTY.copy()
    edge[place] = 255

    with pytest.raises(DatasetError, match="last row or column"):
        tally_of((SQUARE, edge))


@pytest.mark.parametrize("truth", [np.full_like(EMPTY, 255), EMPTY])
def test_a_subject_that_is_all_or_nothing_has_scores(truth):
    assert all(map(math.isfinite, tally_of((SQUARE, truth)).scores().values()))


@pytest.mark.parametrize(("level", "empty"), [(SUBJECT_LEVEL, 1), (SUBJECT_LEVEL + 1, 0)])
def test_half_is_where_the_library_cuts(level, empty):
    assert tally_of((SQUARE, SQUARE // 255 * np.uint8(level))).empty == empty
