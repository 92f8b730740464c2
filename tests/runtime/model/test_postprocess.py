import numpy as np
import pytest
from birefnet_runtime.model.postprocess import to_alpha


def linear(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear enlargement by its definition, pixel centers at .5, edges repeated."""

    def weights(source: int, target: int) -> np.ndarray:
        at = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
        low = np.minimum(np.floor(at).astype(int), max(source - 2, 0))
        matrix = np.zeros((target, source))
        matrix[np.arange(target), low] += 1 - (at - low)
        matrix[np.arange(target), np.minimum(low + 1, source - 1)] += at - low
        return matrix

    return weights(mask.shape[0], size[0]) @ mask @ weights(mask.shape[1], size[1]).T


@pytest.mark.parametrize("size", [(64, 96), (200, 333), (64, 300)])
def test_alpha_is_the_sigmoid_enlarged_linearly(size):
    logits = np.random.default_rng(3).normal(0, 4, (64, 96)).astype(np.float32)

    alpha = to_alpha(logits, size)

    assert alpha.dtype == np.float32
    np.testing.assert_allclose(
        alpha, linear(1 / (1 + np.exp(-logits.astype(float))), size), atol=2e-6
    )


def test_shrinking_averages():
    logits = np.full((64, 64), -100, np.float32)
    logits[::8] = 100  # an eighth; two rows around each center would see none of it

    alpha = to_alpha(logits, (8, 8))

    assert alpha.shape == (8, 8)
    np.testing.assert_allclose(alpha[1:-1], 1 / 8, atol=0.01)


@pytest.mark.parametrize("size", [(100, 20), (20, 100), (1, 1), (1, 4000)])
def test_alpha_has_the_images_size_and_stays_in_range(size):
    logits = np.random.default_rng(5).normal(0, 50, (64, 64)).astype(np.float32)

    alpha = to_alpha(logits, size)

    assert alpha.shape == size
    assert alpha.min() >= 0
    assert alpha.max() <= 1


def test_far_logits_saturate_without_overflow():
    alpha = to_alpha(np.array([[-1e4, -90, 0, 90, 1e4]], np.float32), (1, 5))

    np.testing.assert_allclose(alpha, [[0, 0, 0.5, 1, 1]], atol=1e-6)


def test_no_min_max_stretch():
    """A weak answer stays weak: nothing is divided by the maximum."""
    alpha = to_alpha(np.full((32, 32), -2, np.float32), (32, 32))

    np.testing.assert_allclose(alpha, 0.1192, atol=1e-4)
