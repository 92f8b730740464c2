"""Two alphas compared: figures known in advance, edges on their own, nothing slips through."""

import cv2
import numpy as np
import pytest
from birefnet_export.errors import ParityError
from birefnet_export.verify.masks import (
    MaskTolerance,
    band_width,
    boundary_iou,
    compare_masks,
    intersection_over_union,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

WIDTH = band_width((60, 80))  # 2


def square(top: int = 20, left: int = 30) -> np.ndarray:
    """An alpha of 60 x 80 with a square of 20 x 20."""
    alpha = np.zeros((60, 80), np.float32)
    alpha[top : top + 20, left : left + 20] = 1
    return alpha


@pytest.mark.parametrize("levels", [0.5, 2, 100])
def test_a_mask_off_by_a_known_epsilon_is_reported_with_that_epsilon(levels):
    expected = square() * 0.5
    found = expected + np.float32(levels / 255)

    parity = compare_masks(found, expected)

    assert parity.max_levels == pytest.approx(levels, rel=1e-4)
    assert parity.mae == pytest.approx(levels / 255, rel=1e-4)
    assert parity.band_max_levels == pytest.approx(levels, rel=1e-4)
    assert parity.band_mae == pytest.approx(levels / 255, rel=1e-4)
    assert parity.iou == 1


def test_equal_masks_are_equal():
    parity = compare_masks(square(), square())

    assert (parity.mae, parity.max_levels, parity.iou, parity.boundary_iou) == (0, 0, 1, 1)
    assert parity.size == (60, 80)


def test_a_difference_far_from_the_edge_is_not_in_the_band_and_one_at_the_edge_is():
    inside, edge = square(), square()
    inside[30, 40] = 0.6
    edge[20, 40] = 0.6

    assert compare_masks(inside, square()).band_mae == 0
    assert compare_masks(inside, square()).max_levels == pytest.approx(102)
    assert compare_masks(edge, square()).band_max_levels == pytest.approx(102)


def test_the_band_is_both_sides_of_the_edge_and_the_picture_s_border_is_none():
    parity = compare_masks(square(), square())
    outer, inner = 20 + 2 * WIDTH, 20 - 2 * WIDTH

    assert parity.band_share == (outer**2 - inner**2) / (60 * 80)
    left_half = np.zeros((60, 80), np.float32)
    left_half[:, :40] = 1
    assert compare_masks(left_half, left_half).band_share == 2 * WIDTH / 80


@pytest.mark.parametrize("value", [0, 1])
def test_a_mask_without_an_edge_has_no_figures_of_one(value):
    plain = np.full((60, 80), value, np.float32)

    parity = compare_masks(plain, plain)

    assert (parity.band_share, parity.band_mae, parity.band_max_levels) == (0, None, None)
    assert parity.iou == parity.boundary_iou == 1
    assert parity.lines()[1] == "no edge, boundary IoU 1.0000"


def test_boundary_iou_of_a_moved_square_by_hand():
    """Rings of 2 pixels in squares of 20, one moved by a pixel."""
    found, expected = square(left=31) > 0, square() > 0
    ring = 20**2 - 16**2
    sides = 20 * 1 * 2  # the columns where both are: one of each vertical side
    both = sides + 2 * 2 * 17  # and of the horizontal sides all but the corners' columns

    assert WIDTH == 2
    assert boundary_iou(found, expected) == both / (2 * ring - both)
    assert intersection_over_union(found, expected) == 19 / 21


@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))), st.randoms())
@settings(max_examples=60, deadline=None)
def test_boundary_iou_is_that_of_repeated_erosion(mask, random):
    """What the paper's own implementation computes."""
    other = np.roll(mask, random.randint(0, 3), axis=random.randint(0, 1))

    def inner(values):
        padded = np.pad(values, 1).astype(np.uint8)
        kernel = np.ones((3, 3), np.uint8)
        eroded = cv2.erode(padded, kernel, iterations=band_width(values.shape))
        return (padded > eroded)[1:-1, 1:-1]

    expected = intersection_over_union(inner(mask), inner(other))
    assert boundary_iou(mask, other) == expected


def test_intersection_over_union():
    a, b = np.array([[True, True, False]]), np.array([[False, True, True]])

    assert intersection_over_union(a, b) == 1 / 3
    assert intersection_over_union(a, a) == 1
    assert intersection_over_union(~a & a, a & ~a) == 1


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (60, 80), (1000, 1000)])
def test_a_band_is_two_per_cent_of_the_diagonal_and_a_pixel_at_least(size):
    assert band_width(size) == {(1, 1): 1, (3, 4): 1, (60, 80): 2, (1000, 1000): 28}[size]


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "NaN"), (np.inf, "NaN or inf"), (1.01, "outside"), (-0.5, "0 to")]
)
@pytest.mark.parametrize("swapped", [False, True])
def test_what_is_no_alpha_fails(value, said, swapped):
    spoiled = square()
    spoiled[3, 4] = value
    pair = (square(), spoiled) if swapped else (spoiled, square())

    with pytest.raises(ParityError, match=f"the {'expected ' if swapped else ''}mask .*{said}"):
        compare_masks(*pair)


@pytest.mark.parametrize(
    ("shape", "other", "said"),
    [
        ((3, 4), (3, 5), r"\(3, 4\), not \(3, 5\)"),
        ((0, 4), (0, 4), "nothing was compared"),
        ((3, 4, 1), (3, 4, 1), r"\(H, W\)"),
    ],
)
def test_what_cannot_be_compared_fails(shape, other, said):
    with pytest.raises(ParityError, match=said):
        compare_masks(np.zeros(shape, np.float32), np.zeros(other, np.float32))
    with pytest.raises(ParityError, match=said):
        boundary_iou(np.zeros(shape, bool), np.zeros(other, bool))


@pytest.mark.parametrize(
    ("tolerance", "said"),
    [
        (MaskTolerance(mae=1e-3), "a mean difference of 8.3e-03, more than the 1e-03"),
        (MaskTolerance(max_levels=4), "a difference of 255 levels, more than the 4 allowed"),
        (MaskTolerance(iou=0.99), "an IoU of 0.9048, less than the 0.99 asked for"),
        (MaskTolerance(boundary_iou=0.9), "a boundary IoU of 0.6"),
        (MaskTolerance(), None),
    ],
)
def test_a_tolerance_names_what_does_not_pass(tolerance, said):
    parity = compare_masks(square(left=31), square())

    problem = tolerance.problem(parity)
    assert problem is None if said is None else said in problem
    if said:
        with pytest.raises(ParityError, match="the masks have a"):
            tolerance.check(parity)
