"""Scales of the kernels' samples: what they round, and the table."""

import numpy as np
import pytest
from birefnet_export.reference.deform_conv import deform_conv
from studies.deform_conv import kernel_scales

RNG = np.random.default_rng(0)
X = RNG.random((1, 13, 15, 4)) * np.linspace(0.05, 1, 15)[:, None]  # dark on the left
OFFSET = RNG.standard_normal((1, 13, 15, 18))
MODULATION = 2 * RNG.random((1, 13, 15, 9))
WEIGHT = RNG.integers(-127, 128, (6, 4, 3, 3)).astype(float)
WEIGHT[:, 0, 0, 0] = 127


def error(samples, weight=WEIGHT):
    exact = deform_conv(X, weight, OFFSET, MODULATION)
    return abs(kernel_scales.in_int8(samples, X, weight, OFFSET, MODULATION) - exact).mean()


def test_weights_that_int8_holds_and_samples_as_they_are_give_the_convolution():
    assert error(kernel_scales.samples_of) < 1e-9
    assert error(kernel_scales.samples_of, RNG.standard_normal(WEIGHT.shape)) > 1e-4


def test_a_tiles_own_scale_is_finer_than_the_maps(monkeypatch):
    monkeypatch.setattr(kernel_scales, "TILE", 4)

    assert 0 < error(kernel_scales.by_tile) < error(kernel_scales.by_map)


@pytest.mark.parametrize(("low", "high", "step"), [(0, 255, 1), (5, 51, 0.2), (-64, 191, 1)])
def test_rounding_is_to_255_steps_that_hold_zero(low, high, step):
    values = np.linspace(low, high, 1000)

    found = kernel_scales.rounded(values, low, high)

    assert abs(found - values).max() == pytest.approx(step / 2, rel=0.02)
    assert kernel_scales.rounded(np.zeros(1), low, high) == 0
    assert kernel_scales.rounded(np.array([2.0 * high]), low, high) == pytest.approx(max(high, 0))


def test_the_table():
    text = kernel_scales.markdown_table(
        {
            "size": "192x192",
            "nodes": {"weights alone": {"1 x 1": [0.01, 0.03], "3 x 3": [0.005]}},
            "masks": {"weights alone": [0.001, 0.002]},
        }
    )

    assert "| weights alone | 2.00 % | 0.50 % | 0.00150 |" in text
    assert "on 2 photographs" in text
