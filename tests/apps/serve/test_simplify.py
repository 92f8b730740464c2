import cv2
import numpy as np
from birefnet_apps.files.steps import fill_inside, harden


def pane():
    """A car's door: opaque, with a window of alpha 0.4 and a soft edge."""
    alpha = np.zeros((200, 300), np.float32)
    alpha[40:160, 40:260] = 1
    alpha[70:120, 100:200] = 0.4
    return cv2.GaussianBlur(alpha, (0, 0), 1.5)


def test_windows_become_opaque_and_edges_stay_soft():
    alpha = pane()

    filled = fill_inside(alpha)

    assert filled[95, 150] == 1
    assert np.array_equal(filled[:, :42], alpha[:, :42])
    assert ((filled > 0.1) & (filled < 0.9)).any()


def test_a_hole_through_which_the_background_is_seen_stays():
    alpha = pane()
    alpha[70:120, 100:200] = 0

    assert fill_inside(alpha)[95, 150] == 0


def test_a_hard_mask_has_no_grays_and_no_specks():
    alpha = pane()
    alpha[10, 10] = 1  # one pixel

    hard = harden(alpha)

    assert set(np.unique(hard)) == {0, 1}
    assert hard[10, 10] == 0
    assert hard[50, 150] == 1
