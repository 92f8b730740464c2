"""The verdict: differences are reported as they are, and nothing slips through."""

import numpy as np
import pytest
from birefnet_export.errors import ParityError
from birefnet_export.verify.logits import (
    FLOAT32_TOLERANCES,
    LOGITS_TOLERANCES,
    LogitsTolerance,
    Parity,
    compare_logits,
)

CASES = ((1, 2, 3), (1, 1, 2))


def pair(difference: float) -> tuple[np.ndarray, np.ndarray]:
    logits = np.zeros((1, 1, 2, 3), np.float32)
    other = logits.copy()
    other[0, 0, 1, 2] = difference
    return other, logits


def test_a_known_difference_is_reported():
    same = np.ones((1, 1, 1, 2), np.float32)

    found = compare_logits([pair(0.5), (same, same)], CASES, "numpy", "ort")

    assert found.logits_max_abs == 0.5
    assert found.logits_mean_abs == pytest.approx(0.5 / 8)
    # Of eight sorted values the 99th percentile lies at place .99 * 7 = 6.93, between 0 and .5.
    assert found.logits_p99_abs == pytest.approx(0.93 * 0.5)
    assert found.mask_max_abs == pytest.approx(1 / (1 + np.exp(-0.5)) - 0.5)
    assert found.cases == CASES


@pytest.mark.parametrize("epsilon", [1e-5, 3e-3, 1.0])
def test_a_graph_off_by_a_known_epsilon_is_reported_with_that_epsilon(epsilon):
    expected = np.linspace(-0.1, 0.1, 200).reshape(1, 1, 10, 20)

    found = compare_logits([(expected + epsilon, expected)], [(1, 10, 20)], "numpy", "ort")

    for figure in (found.logits_max_abs, found.logits_p99_abs, found.logits_mean_abs):
        assert figure == pytest.approx(epsilon)
    for figure in (found.mask_max_abs, found.mask_p99_abs, found.mask_mean_abs):
        assert figure == pytest.approx(epsilon / 4, rel=0.25)  # the sigmoid's slope around 0


def test_one_value_in_two_hundred_is_the_largest_and_not_the_99th_percentile():
    expected = np.zeros((1, 1, 10, 20))
    found = expected.copy()
    found[0, 0, 3, 4] = 2

    parity = compare_logits([(found, expected)], [(1, 10, 20)], "numpy", "ort")

    assert (parity.logits_max_abs, parity.logits_p99_abs) == (2, 0)
    assert parity.lines()[0] == (
        "logits differ by 2.0e+00 at most, 0.0e+00 at p99, 1.0e-02 on average"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("swapped", [False, True])
def test_what_is_not_finite_fails(value, swapped):
    found, expected = pair(value)
    sides = (expected, found) if swapped else (found, expected)

    with pytest.raises(ParityError, match="checkpoint" if swapped else "graph"):
        compare_logits([sides], CASES[:1], "numpy", "ort")


def test_a_shape_difference_fails():
    found, expected = pair(0)

    with pytest.raises(ParityError, match=r"\(1, 1, 2, 2\), not \(1, 1, 2, 3\)"):
        compare_logits([(found[..., :2], expected)], CASES[:1], "numpy", "ort")


def test_a_batch_that_would_broadcast_is_another_shape():
    one, two = np.zeros((1, 1, 2, 3)), np.zeros((2, 1, 2, 3))

    for pair_of_batches in ((one, two), (two, one)):
        with pytest.raises(
            ParityError, match=r"the graph gives \(., 1, 2, 3\), not \(., 1, 2, 3\)"
        ):
            compare_logits([pair_of_batches], [(2, 2, 3)], "numpy", "ort")


@pytest.mark.parametrize(
    ("tolerances", "off_by", "passes"),
    [
        (LOGITS_TOLERANCES, 0.9e-4, True),
        (LOGITS_TOLERANCES, 2e-4, False),
        (FLOAT32_TOLERANCES, 0.9e-3, True),
        (FLOAT32_TOLERANCES, 2e-3, False),
    ],
)
def test_what_passes_in_fp32_is_what_an_export_promises(tolerances, off_by, passes):
    """1e-4 against float64; against PyTorch's own float32 three times the 3.5e-4 seen."""
    expected = np.full((1, 1, 4, 4), 9.0)  # masks near one: only logits can be off
    parity = compare_logits([(expected + off_by, expected)], [(1, 4, 4)], "numpy", "ort")

    assert (tolerances["fp32"].problem(parity) is None) == passes


@pytest.mark.parametrize(("off_by", "passes"), [(2.4e-4, True), (4e-4, False)])
def test_masks_have_their_own_bound_against_float32(off_by, passes):
    parity = Parity(0, 0, 0, off_by, off_by, off_by, ((1, 4, 4),), "numpy", "ort")

    assert (FLOAT32_TOLERANCES["fp32"].problem(parity) is None) == passes


def test_nan_passes_no_tolerance():
    parity = Parity(*[float("nan")] * 6, ((1, 4, 4),), "numpy", "ort")

    for tolerance in (*LOGITS_TOLERANCES.values(), LogitsTolerance(logits_max_abs=float("nan"))):
        assert tolerance.problem(parity)
    equal = Parity(*[0.0] * 6, ((1, 4, 4),), "numpy", "ort")
    assert LogitsTolerance(logits_max_abs=float("nan")).problem(equal)
    assert LogitsTolerance().problem(equal) is None


def test_nothing_compared_fails():
    empty = np.zeros((1, 1, 0, 3), np.float32)

    with pytest.raises(ParityError, match="no cases"):
        compare_logits([], (), "numpy", "ort")
    with pytest.raises(ParityError, match="empty"):
        compare_logits([(empty, empty)], CASES[:1], "numpy", "ort")
