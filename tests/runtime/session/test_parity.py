"""When a mask counts as the CPU's, and what is said while it is found out."""

import time

import numpy as np
import pytest
from birefnet_runtime import ProviderError, stderr
from birefnet_runtime.session.acceptance import FP16, FP32, check, compare, sample_image
from birefnet_runtime.stderr import ticking


def test_masks_are_compared_whatever_the_graph_gives():
    """Half of the way from 0 to 1, as logits, as a mask and as alpha."""
    logits = compare(np.array([-40.0, 0.0]), np.array([-40.0, -40.0]))
    mask = compare(np.array([0.0, 0.5]), np.array([0.0, 0.0]), "mask")
    alpha = compare(np.array([0, 51], np.uint8), np.array([0, 0], np.uint8), "alpha")

    assert logits == mask == {"largest": 0.5, "mean": 0.25}
    assert alpha == pytest.approx({"largest": 0.2, "mean": 0.1})


def test_what_is_too_far_off_is_refused_with_both_numbers():
    def refused(largest, mean, tolerance=FP32):
        found = {"largest": largest, "mean": mean}
        check(found, tolerance, (64, 96), whose="the disc's", instead="another")

    refused(0.05, 0.001)
    refused(0.2, 0.005, FP16)
    for largest, mean in ((0.06, 0.0), (0.0, 0.002), (float("nan"), float("nan"))):
        with pytest.raises(ProviderError, match="the disc's mask differs from the CPU's by") as e:
            refused(largest, mean)
        said = str(e.value)
        assert said.endswith("64x96; 0.05 and 0.001 are allowed, so it is not used; try another")


def test_nothing_of_nan_passes_for_parity():
    found = compare(np.full((1, 1, 2, 2), np.nan), np.zeros((1, 1, 2, 2)))

    with pytest.raises(ProviderError, match="by nan at most"):
        check(found, FP16, (2, 2), whose="its", instead="another")


def test_the_sample_is_the_same_each_time():
    np.testing.assert_array_equal(sample_image((2, 32, 64)), sample_image((2, 32, 64)))
    assert sample_image((2, 32, 64)).shape == (2, 3, 32, 64)


def test_progress_goes_on_while_it_runs(monkeypatch):
    said = []
    monkeypatch.setattr(stderr, "say", said.append)

    with ticking("building", "this takes minutes, once", every_s=0.01):
        while len(said) < 3:
            time.sleep(0.005)

    assert said[0] == "birefnet: building; this takes minutes, once"
    assert all(line.startswith("birefnet: building: ") for line in said[1:])
    assert ": took " in said[-1]


def test_what_is_soon_done_says_nothing(monkeypatch):
    said = []
    monkeypatch.setattr(stderr, "say", said.append)

    with ticking("comparing"):
        pass

    assert said == []
