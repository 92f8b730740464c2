import numpy as np
import pytest
from birefnet_runtime.model.graph_io import to_alpha
from PIL import Image


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x.astype(float)))


def card(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The model card's lines: `ToPILImage()` cuts to 8 bits, `resize` is bicubic by default."""
    image = Image.fromarray((sigmoid(logits) * 255).astype(np.uint8))
    return np.asarray(image.resize(size[::-1]))


SIZES = [(64, 96), (200, 333), (64, 300), (1000, 96), (20, 30), (40, 500), (500, 40), (1, 4000)]


@pytest.mark.parametrize("size", SIZES)
def test_alpha_is_the_sigmoid_resized_by_pillows_filter_in_each_direction(size):
    logits = np.random.default_rng(3).normal(0, 4, (64, 96)).astype(np.float32)
    mask = sigmoid(logits).astype(np.float32)

    alpha = to_alpha(logits, size)

    assert (alpha.dtype, alpha.shape) == (np.float32, size)
    for step in ((size[1], 64), size[::-1]):
        mask = np.asarray(Image.fromarray(mask).resize(step, Image.Resampling.BICUBIC)).clip(0, 1)
    np.testing.assert_allclose(alpha, mask, atol=2e-6)


def keys(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Enlargement by Keys's cubic convolution with a = -1/2, by its definition."""

    def weights(source: int, target: int) -> np.ndarray:
        x = np.abs(np.arange(source) + 0.5 - ((np.arange(target) + 0.5) * source / target)[:, None])
        near = 1.5 * x**3 - 2.5 * x**2 + 1
        far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        matrix = np.select([x <= 1, x <= 2], [near, far], 0)
        return matrix / matrix.sum(axis=1, keepdims=True)

    return weights(mask.shape[0], size[0]) @ mask @ weights(mask.shape[1], size[1]).T


def test_alpha_is_enlarged_by_cubic_convolution():
    logits = np.random.default_rng(4).normal(0, 0.2, (40, 30)).astype(np.float32)

    alpha = to_alpha(logits, (1100, 1000))  # several tiles in both directions, the last ones cut

    np.testing.assert_allclose(alpha, keys(sigmoid(logits), (1100, 1000)), atol=2e-6)


def test_hairs_are_within_two_levels_of_the_model_cards_too():
    """The filter overshoots there; the card's 8 bits cut that off after each direction."""
    logits = np.full((200, 150), -9, np.float32)
    logits[:, 3::7], logits[5::9] = 9, 9

    levels = np.rint(to_alpha(logits, (900, 700)) * 255)

    assert np.abs(levels - card(logits, (900, 700))).max() <= 2


@pytest.mark.parametrize("size", SIZES)
def test_an_8_bit_alpha_is_within_two_levels_of_the_model_cards(size):
    """Cutting to 8 bits costs the card one level, its filter's overshoot and rounding another."""
    smooth = np.random.default_rng(6).normal(0, 4, (8, 12)).astype(np.float32)
    logits = np.asarray(Image.fromarray(smooth).resize((96, 64), Image.Resampling.BICUBIC))

    levels = np.rint(to_alpha(logits, size) * 255)

    assert np.abs(levels - card(logits, size)).max() <= 2


def test_shrinking_averages():
    logits = np.full((64, 64), -100, np.float32)
    logits[::8] = 100  # an eighth; two rows around each center would see none of it

    alpha = to_alpha(logits, (8, 8))

    assert alpha.shape == (8, 8)
    np.testing.assert_allclose(alpha[1:-1], 1 / 8, atol=0.01)


@pytest.mark.parametrize("size", [(128, 8), (8, 128)])
def test_shrinking_averages_where_the_other_side_grows(size):
    logits = np.full((64, 64), -100, np.float32)
    logits[:, ::8] = 100
    if size[0] < size[1]:
        logits = logits.T.copy()

    alpha = to_alpha(logits, size)

    inner = alpha[:, 1:-1] if size[1] < size[0] else alpha[1:-1]
    np.testing.assert_allclose(inner, 1 / 8, atol=0.01)


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
