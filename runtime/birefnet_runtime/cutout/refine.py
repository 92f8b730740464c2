"""A finer mask of small subjects: their surroundings are run again, alone.

The network sees every picture at one size, and of a subject that is a tenth of it a tenth of its
pixels. Given the surroundings alone, it sees more of the subject, and its mask has a finer edge.
What that gains and costs, and with which numbers, is in `benchmarks/results/refine.json`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, TypeAlias

import cv2
import numpy as np
from birefnet_models.base.text import format_size
from numpy.typing import NDArray

from ..images.picture import Picture, row_strips
from ..model.graph_io import Form, Prepared
from .layout import Box
from .mask import SUBJECT_ALPHA, find_subject

WINDOW_MARGIN = 0.5
"""Around the subject's box, as a share of its longer side. Shown with less around it, a subject is
more often taken for a part of something."""
MOST_WINDOW_SHARE = 0.5
"""The share of the picture that a window may take. A larger one shows the network less than 1.4
times as many pixels a side as it has seen, and masks of soft subjects got worse by it."""
LEAST_AGREEMENT = 0.7
"""Intersection over union of both masks in the window, at `SUBJECT_ALPHA`. With less they have
found different things, and the first has seen what is around them."""
FEATHER_SHARE = 0.05
"""Of the window's longer side: how far inside its border the second mask has replaced the first.
Less than the margin's share of it, so that the subject itself is the second's."""


@dataclass(frozen=True, slots=True)
class Refined:
    """What a graph answered to a picture, and to a window of it.

    Attributes:
        first, second: as a graph answers.
        window: in the picture's pixels.
    """

    first: NDArray[Any]
    second: NDArray[Any]
    window: Box

    def __repr__(self) -> str:
        shapes = " and ".join(format_size(each.shape) for each in (self.first, self.second))
        return f"<Refined: {shapes}, window {self.window}>"


Prediction: TypeAlias = NDArray[Any] | Refined
"""What a graph answered to a picture, or to a picture and a window of it."""


def window_around(alpha: NDArray[np.float32], size: tuple[int, int]) -> Box | None:
    """Choose the window that is run again.

    Args:
        alpha: float32 (height, width) in [0, 1], at any size.
        size: (H, W) of the picture.

    Returns:
        Around the subject, in the picture's pixels; None where there is no subject, or a window
        would be larger than `MOST_WINDOW_SHARE`.
    """
    box = find_subject(alpha).box
    if box is None:
        return None
    down, along = (side / of for side, of in zip(size, alpha.shape, strict=True))
    top, left, bottom, right = box[0] * down, box[1] * along, box[2] * down, box[3] * along
    margin = WINDOW_MARGIN * max(bottom - top, right - left)
    height, width = bottom - top + 2 * margin, right - left + 2 * margin
    first, last = _within((top + bottom) / 2, height, size[0])
    start, stop = _within((left + right) / 2, width, size[1])
    if (last - first) * (stop - start) > MOST_WINDOW_SHARE * size[0] * size[1]:
        return None
    return first, start, last, stop


def run_refined(
    prepared: Sequence[Prepared],
    form: Form,
    model_size: Callable[[tuple[int, int]], tuple[int, int]],
    run: Callable[[Sequence[Prepared]], list[NDArray[Any]]],
) -> list[Prediction]:
    """Run pictures, then windows of those where the subject fills little, together.

    A window's answer that disagrees with the picture's, such as one that finds no subject, is left
    out.

    Args:
        prepared: pictures.
        form: the graph's.
        model_size: the (height, width) at which the network runs for a picture's.
        run: gives the graph's answers.

    Raises:
        ModelError: the run failed.
    """
    answers = run(prepared)
    found: list[Prediction] = [*answers]
    firsts = [form.alpha(answer, answer.shape) for answer in answers]
    windows: dict[int, Box] = {}
    for place, (each, first) in enumerate(zip(prepared, firsts, strict=True)):
        window = window_around(first, each.picture.size)
        if window is not None:
            windows[place] = window
    parts = [_part(prepared[place].picture, window) for place, window in windows.items()]
    seconds = run([form.prepare(part, model_size(part.size)) for part in parts]) if parts else []
    for (place, window), second in zip(windows.items(), seconds, strict=True):
        closer = form.alpha(second, second.shape)
        if (
            _agreement(firsts[place], closer, window, prepared[place].picture.size)
            >= LEAST_AGREEMENT
        ):
            found[place] = Refined(answers[place], second, window)
    return found


def alpha_of(prediction: Prediction, form: Form, size: tuple[int, int]) -> NDArray[np.float32]:
    """Alpha of a picture of (H, W) `size`: float32 in [0, 1]."""
    if not isinstance(prediction, Refined):
        return form.alpha(prediction, size)
    top, left, bottom, right = prediction.window
    alpha = form.alpha(prediction.first, size)
    closer = form.alpha(prediction.second, (bottom - top, right - left))
    _blend(alpha[top:bottom, left:right], closer, prediction.window, size)
    return alpha


def _within(center: float, side: float, whole: int) -> tuple[int, int]:
    """From where to where a side goes, moved into the picture's, which is `whole` pixels long."""
    side = min(side, whole)
    start = min(max(center - side / 2, 0), whole - side)
    return int(start), min(whole, ceil(start + side))


def _part(picture: Picture, window: Box) -> Picture:
    top, left, bottom, right = window
    inside = slice(top, bottom), slice(left, right)
    opacity = None if picture.opacity is None else picture.opacity[inside]
    return Picture(picture.pixels[inside], opacity, picture.profile)


def _agreement(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    window: Box,
    size: tuple[int, int],
) -> float:
    """Intersection over union of a picture's mask in a window and the window's own.

    Args:
        first: float32 (height, width) in [0, 1], of a picture of (H, W) `size`, at any size.
        second: as `first`, of the window.
        window: in the picture's pixels.
        size: (H, W).
    """
    down, along = (of / side for side, of in zip(size, first.shape, strict=True))
    rows = slice(int(window[0] * down), ceil(window[2] * down))
    columns = slice(int(window[1] * along), ceil(window[3] * along))
    inside = first[rows, columns]
    coarse = cv2.resize(second, inside.shape[::-1], interpolation=cv2.INTER_AREA)
    one, other = inside >= SUBJECT_ALPHA, coarse >= SUBJECT_ALPHA
    return float((one & other).sum() / max(1, (one | other).sum()))


def _blend(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    window: Box,
    size: tuple[int, int],
) -> None:
    """Let the second take the first's place, from nothing at the window's border to all inside.

    Where the border is the picture's there is no seam to hide, and the second counts to the last
    pixel.
    """
    top, left, bottom, right = window
    reach = max(1.0, FEATHER_SHARE * max(bottom - top, right - left))
    down = _ramp(bottom - top, reach, top > 0, bottom < size[0])
    along = _ramp(right - left, reach, left > 0, right < size[1])
    for rows in row_strips(first.shape):
        first[rows] += (second[rows] - first[rows]) * (down[rows, None] * along)


def _ramp(side: int, reach: float, rises: bool, falls: bool) -> NDArray[np.float32]:
    """Weights along a side: float32 (side,), from 0 to 1 within `reach` of those ends that rise."""
    places = np.arange(side) + 0.5
    weights = np.ones(side)
    if rises:
        weights = np.minimum(weights, places / reach)
    if falls:
        weights = np.minimum(weights, (side - places) / reach)
    return weights.astype(np.float32)
