import numpy as np
import pytest
from birefnet_runtime.cutout.mask import find_subject, widen


def test_box_and_share():
    alpha = np.zeros((40, 50), np.float32)
    alpha[10:20, 5:30] = 1
    alpha[9, 7] = 0.2  # a hair
    alpha[30, 40] = 0.05  # a ghost

    found = find_subject(alpha)

    assert found.found
    assert found.box == (9, 5, 20, 30)
    assert found.share == pytest.approx((250 + 0.25) / 2000, rel=1e-5)


@pytest.mark.parametrize("value", [0, 0.49])
def test_nothing_found(value):
    found = find_subject(np.full((4, 5), value, np.float32))

    assert not found.found
    assert found.box is None


def test_one_pixel():
    assert find_subject(np.ones((1, 1), np.float32)).box == (0, 0, 1, 1)


def test_a_margin_stays_in_the_picture():
    assert widen((10, 20, 30, 60), 0.1, (100, 100)) == (6, 16, 34, 64)
    assert widen((1, 2, 99, 98), 0.5, (100, 100)) == (0, 0, 100, 100)
