import numpy as np
import pytest
from birefnet_runtime import Layout
from birefnet_runtime.cutout.layout import _reaching, place


class At:
    """Puts the subject into a box of a canvas, whatever it is."""

    def __init__(self, canvas, there):
        self.arranged = canvas, there

    def arrange(self, box, size):
        return self.arranged


@pytest.fixture
def alpha():
    """float32 (40, 60): no two pixels of a row or a column are alike."""
    rows, columns = np.mgrid[0:40, 0:60].astype(np.float32)
    return (rows / 80 + columns / 120).astype(np.float32)


def test_what_surrounds_the_subject_goes_along_as_far_as_it_reaches(alpha):
    """The subject is (10, 20) to (30, 50); above it there are 10 pixels, and the canvas has 15."""
    placement = place(At((50, 40), (15, 4, 35, 34)), (10, 20, 30, 50), alpha.shape)

    placed = placement.alpha(alpha)

    assert placed.shape == (50, 40)
    np.testing.assert_array_equal(placed[5:45], alpha[:, 16:56])
    assert placed[:5].max() == placed[45:].max() == 0


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_colors_go_where_their_alpha_goes(alpha, depth):
    colors = np.zeros((40, 60, 3), depth)
    colors[..., 0] = 200
    colors[:, :30, 1] = 100
    placement = place(At((20, 30), (0, 0, 20, 30)), None, alpha.shape)  # half the size

    placed = placement.alpha(alpha)
    placed_colors = placement.colors(colors, alpha, placed)

    np.testing.assert_allclose(placed, alpha.reshape(20, 2, 30, 2).mean((1, 3)), atol=1e-6)
    assert (placed_colors.shape, placed_colors.dtype) == ((20, 30, 4), depth)
    assert (placed_colors[1:, 1:, 0] == 200).all()
    assert (placed_colors[1:, 1:15, 1] == 100).all()
    assert (placed_colors[:, 15:, 1] == 0).all()
    assert not placed_colors[..., 3].any()


def test_a_subject_is_enlarged_with_its_soft_edge():
    alpha = np.zeros((40, 40), np.float32)
    alpha[18:22, 18:22] = 1
    alpha[16:18] = alpha[22:24] = 0.05  # too faint for the box

    placed = place(At((100, 100), (40, 40, 60, 60)), (18, 18, 22, 22), alpha.shape).alpha(alpha)

    assert placed[44:56, 44:56].min() == 1
    assert placed[33:37, 50] == pytest.approx(0.05)
    assert placed[:25].max() == 0


def test_without_a_subject_the_whole_picture_is_placed(alpha):
    placement = place(Layout(scale=0.5), None, alpha.shape)

    assert placement.source == (slice(0, 40), slice(0, 60))
    assert placement.target == (slice(10, 30), slice(15, 45))


def test_small_is_a_mean_and_large_has_no_blocks():
    stripes = np.tile(np.array([0, 1], np.float32), (40, 30))
    step = np.repeat(np.array([[0, 1]], np.float32), 4, axis=1).repeat(8, axis=0)

    small = place(At((10, 15), (0, 0, 10, 15)), None, stripes.shape).alpha(stripes)
    large = place(At((32, 32), (0, 0, 32, 32)), None, step.shape).alpha(step)

    np.testing.assert_allclose(small, 0.5, atol=0.02)
    assert ((large > 0.05) & (large < 0.95)).any()


def test_what_is_seen_is_rounded_to_whole_pixels():
    """One more pixel of the picture is 1.5 of the canvas."""
    assert _reaching((0, 10), (0, 15), 11, 20)[1] == slice(0, 17)
