import numpy as np
import pytest
from studies.pictures.composites import EDGES, make_composite, mix
from studies.pictures.foreground import errors, in_band

SMALL = (120, 160)


@pytest.mark.parametrize("edge", EDGES)
def test_a_composite_is_what_it_says(edge):
    made = make_composite(edge, 3, SMALL)

    expected = made.alpha[..., None] * made.fore + (1 - made.alpha[..., None]) * made.back
    np.testing.assert_allclose(made.image, expected, atol=0.51)
    assert 0.01 < in_band(made).mean() < 0.6
    assert made.alpha.max() == 1
    assert made.alpha.min() == 0
    np.testing.assert_array_equal(make_composite(edge, 3, SMALL).image, made.image)


def test_light_mixes_brighter_than_values():
    black, white = np.zeros((1, 1, 3), np.float32), np.full((1, 1, 3), 255, np.float32)
    half = np.full((1, 1), 0.5, np.float32)

    assert mix(black, white, half, "values")[0, 0, 0] == pytest.approx(127.5)
    assert mix(black, white, half, "linear")[0, 0, 0] == pytest.approx(187.5, abs=0.1)


def test_estimating_beats_doing_nothing():
    made = [make_composite("hair", seed, SMALL) for seed in (1, 2)]

    nothing, blur = errors(made, "none"), errors(made, "blur")

    assert blur["sad_levels"] < nothing["sad_levels"] / 2
    assert blur["mse"] < nothing["mse"] / 4
