"""Alpha made simpler, as some callers ask for it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from .subject import FAINT

EDGE = 0.02
"""Of the picture's longer side: how far into the subject its soft edge reaches at most."""


def fill_inside(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """Make what shines through inside of the subject opaque, such as windows; its edge stays soft.

    Inside is what lies farther from the background than `EDGE`.

    Args:
        alpha: float32 (H, W) in [0, 1].

    Returns:
        float32 (H, W) in [0, 1].
    """
    shown = (alpha >= np.float32(FAINT)).astype(np.uint8)
    # Beyond the frame it goes on: a subject that is cut off there has no edge.
    far = cv2.distanceTransform(shown, cv2.DIST_L2, cv2.DIST_MASK_5)
    inside = (far > EDGE * max(alpha.shape)) & (alpha > 0)
    return np.where(inside, np.float32(1), alpha)


def harden(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """A smooth mask of zeros and ones, as rembg's `ppm` makes it: opened, blurred, cut at half.

    Args:
        alpha: float32 (H, W) in [0, 1].

    Returns:
        float32 (H, W), 0 or 1.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    opened = cv2.morphologyEx(alpha, cv2.MORPH_OPEN, kernel)
    smooth = cv2.GaussianBlur(opened, (5, 5), sigmaX=2, sigmaY=2, borderType=cv2.BORDER_DEFAULT)
    return (smooth >= np.float32(127 / 255)).astype(np.float32)
