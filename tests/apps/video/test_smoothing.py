import numpy as np
from birefnet_apps.video.smoothing import LEAST_NEW_SHARE, SmoothMask
from birefnet_runtime import Picture


def frames(count, speed=0, noise=4.0):
    """A white square on gray that moves along, with noise; and its alpha, which wavers with it."""
    random = np.random.default_rng(0)
    for frame in range(count):
        truth = np.zeros((60, 120), np.float32)
        truth[20:40, 20 + frame * speed : 40 + frame * speed] = 1
        pixels = (80 + 120 * truth)[..., None] + random.normal(0, noise, (60, 120, 3))
        alpha = np.clip(truth + random.normal(0, 0.05, truth.shape), 0, 1).astype(np.float32)
        yield Picture(np.rint(pixels.clip(0, 255)).astype(np.uint8)), alpha, truth


def through(filmed):
    smooth = SmoothMask()
    shown = [(smooth(picture, alpha), alpha, truth) for picture, alpha, truth in filmed]
    return [np.stack(each)[6:] for each in zip(*shown, strict=True)]


def test_what_stands_still_hardly_flickers():
    shown, alpha, truth = through(frames(14))

    assert np.abs(np.diff(shown, axis=0)).mean() < np.abs(np.diff(alpha, axis=0)).mean() / 4
    assert np.abs(shown - truth).mean() < np.abs(alpha - truth).mean()
    assert shown.dtype == np.float32
    assert shown.min() >= 0
    assert shown.max() <= 1


def test_what_moves_leaves_nothing_behind():
    shown, alpha, truth = through(frames(14, speed=3))

    for frame in range(len(truth)):
        left = np.flatnonzero(truth[frame].any(axis=0))[0]
        behind = np.s_[frame, 20:40, left - 6 : left]  # where the square has just been
        edge = np.s_[frame, 20:40, left : left + 20]
        assert shown[behind].mean() < alpha[behind].mean() + 0.01
        assert shown[edge].mean() > alpha[edge].mean() - 0.01


def test_a_cut_begins_anew_and_a_plain_mean_would_not():
    smooth = SmoothMask()
    before, after = (Picture(np.full((20, 20, 3), level, np.uint8)) for level in (60, 90))
    smooth(before, np.zeros((20, 20), np.float32))

    np.testing.assert_array_equal(smooth(after, np.ones((20, 20), np.float32)), 1)


def test_the_first_frame_stays_and_the_next_counts_by_its_share():
    smooth = SmoothMask()
    same = Picture(np.full((20, 20, 3), 6000, np.uint16))

    first = smooth(same, np.zeros((20, 20), np.float32))
    second = smooth(same, np.ones((20, 20), np.float32))

    assert not first.any()
    np.testing.assert_allclose(second, LEAST_NEW_SHARE, atol=1e-6)


def test_one_level_in_a_clean_film_is_no_movement():
    """The noise of computed films is zero; one pixel that changes by a level still hasn't moved."""
    smooth = SmoothMask()
    pixels = np.full((20, 20, 3), 100, np.uint8)
    for _ in range(16):
        smooth(Picture(pixels), np.zeros((20, 20), np.float32))
    pixels = pixels.copy()
    pixels[10, 10] += 1

    shown = smooth(Picture(pixels), np.ones((20, 20), np.float32))

    np.testing.assert_allclose(shown, LEAST_NEW_SHARE, atol=1e-6)


def test_a_soft_edge_that_moves_slowly_does_not_drag():
    """Half a pixel a frame changes less than the noise: only a mean of the frames before shows it.

    Compared with the last frame alone, alpha would lag by .23.
    """
    random = np.random.default_rng(1)
    smooth = SmoothMask()
    for frame in range(60):
        ramp = np.clip((np.arange(120) - 30 - frame / 2) / 12 + 0.5, 0, 1)
        alpha = np.broadcast_to(ramp, (40, 120)).astype(np.float32)
        pixels = (90 + 60 * alpha)[..., None] + random.normal(0, 4, (40, 120, 3))
        shown = smooth(Picture(np.rint(pixels).astype(np.uint8)), alpha)

    assert np.abs(shown - alpha)[5:-5].max() <= 0.12
