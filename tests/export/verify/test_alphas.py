"""The verdict on 8-bit masks."""

import numpy as np
import pytest
from birefnet_export.errors import ParityError
from birefnet_export.verify.alphas import ALPHA_TOLERANCE, compare_alphas

SHAPE = (1, 10, 10)


def masks(levels: int, pixels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A black mask, and one that is off by so many levels at the first pixels."""
    alphas, expected = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    alphas.flat[:pixels] = levels
    return alphas, expected


def test_two_levels_somewhere_pass_and_are_reported():
    parity = compare_alphas([masks(2), masks(1)], [SHAPE, SHAPE], "onnxruntime")

    assert parity.max_levels == 2
    assert parity.mean_levels == pytest.approx(0.02)
    ALPHA_TOLERANCE.check(parity)
    assert parity.to_dict()["cases"] == (SHAPE, SHAPE)


@pytest.mark.parametrize(("levels", "pixels"), [(3, 1), (1, 11), (255, 100)])
def test_more_is_refused(levels, pixels):
    parity = compare_alphas([masks(levels, pixels)], [SHAPE], "")

    with pytest.raises(ParityError, match=f"{levels} levels"):
        ALPHA_TOLERANCE.check(parity)


def test_darker_counts_as_brighter():
    expected, alphas = masks(200)

    parity = compare_alphas([(alphas, expected)], [SHAPE], "")

    with pytest.raises(ParityError, match="200 levels"):
        ALPHA_TOLERANCE.check(parity)


def test_nothing_compared_is_no_pass():
    with pytest.raises(ParityError, match="nothing was compared"):
        compare_alphas([], [], "")
    with pytest.raises(ParityError, match=r"gives \(1, 5, 10\), not \(1, 10, 10\)"):
        compare_alphas([(masks(0)[0][:, :5], masks(0)[1])], [SHAPE], "")
