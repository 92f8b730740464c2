"""Masks of a quantized graph compared with those of float32."""

import numpy as np
import pytest
from birefnet_export.errors import PrecisionError
from birefnet_export.verify.quality import quality


def test_nothing_compared_and_nan_are_errors():
    logits = np.zeros((1, 1, 2, 2), np.float32)

    with pytest.raises(PrecisionError, match="no images"):
        quality([], [])
    with pytest.raises(PrecisionError, match="NaN"):
        quality([logits * np.nan], [logits])


def logits(*alphas: float) -> np.ndarray:
    """Logits of a mask of one row."""
    values = np.array(alphas, np.float64)
    return np.log(values / (1 - values)).reshape(1, 1, 1, -1)


def test_means_and_worst_of_two_masks():
    exact = [logits(0.9, 0.9, 0.9, 0.1), logits(0.9, 0.1, 0.1, 0.1)]
    quantized = [logits(0.9, 0.9, 0.3, 0.1), logits(0.8, 0.2, 0.1, 0.1)]

    result = quality(quantized, exact, ("stage0 products",))
    assert (result.iou_mean, result.iou_min) == (pytest.approx(5 / 6), pytest.approx(2 / 3))
    assert (result.mae_mean, result.mae_max) == (pytest.approx(0.1), pytest.approx(0.15))
    assert (result.images, result.size) == (2, (1, 4))
    assert result.excluded == ("stage0 products",)
