"""Masks of a video smoothed in time, where the picture stays the same.

Sensor noise makes the network's answer waver from frame to frame at edges that don't move. A mean
over frames would calm them, and draw a veil behind whatever moves. So the mean is taken pixel by
pixel, and begins anew where the picture changes by more than its noise.
"""

import cv2
import numpy as np
from birefnet_runtime.images.picture import Picture, as_share
from numpy.typing import NDArray

LEAST_NEW_SHARE = 0.15
"""The share of a new frame where nothing changes: the mean goes back over some six frames.
`benchmarks/results/steadiness.json` has what it gains, and at moving edges costs."""
STILL_RATIO, MOVED_RATIO = 1.25, 1.75
"""Change as a multiple of the noise, up to which a pixel is still and from which it has moved."""
CHANGE_WINDOW = 9
"""Pixels a side over which change is averaged, so that noise hardly counts as one."""
LEAST_NOISE, MOST_NOISE = 0.5 / 255, 8 / 255
"""Between which the noise is looked for, as a share of white. Above lies a camera that moves."""

_Floats = NDArray[np.float32]


class SmoothMask:
    """Filters the masks of one video, in order.

    What a frame is compared with is the same mean of the pictures before it, which has less noise
    than a picture, and notices what moves slowly, too.
    """

    def __init__(self) -> None:
        self._picture: _Floats | None = None
        self._alpha: _Floats | None = None

    def __call__(self, picture: Picture, alpha: _Floats) -> _Floats:
        """Smooth the next frame's mask.

        Args:
            picture: the frame, as large as those before.
            alpha: float32 (H, W) in [0, 1].

        Returns:
            float32 (H, W) in [0, 1].
        """
        seen = as_share(picture.pixels)
        if self._picture is None or self._alpha is None:
            self._picture, self._alpha = seen, alpha
            return alpha
        share = _new_share(np.abs(seen - self._picture))
        self._picture = self._picture + (seen - self._picture) * share[..., None]
        self._alpha = self._alpha + (alpha - self._alpha) * share
        return self._alpha


def _new_share(difference: _Floats) -> _Floats:
    """How much the new frame counts: float32 (H, W) in [`LEAST_NEW_SHARE`, 1], 1 where it moved.

    Args:
        difference: float32 (H, W, 3), of the new picture from those before, as shares of white.
    """
    change = cv2.transform(difference, np.full((1, 3), 1 / 3, np.float32))
    change = cv2.boxFilter(change, -1, (CHANGE_WINDOW, CHANGE_WINDOW))
    noise = float(np.clip(np.median(change), LEAST_NOISE, MOST_NOISE))
    moved = np.clip((change / noise - STILL_RATIO) / (MOVED_RATIO - STILL_RATIO), 0, 1)
    return np.asarray(LEAST_NEW_SHARE + (1 - LEAST_NEW_SHARE) * moved, np.float32)
