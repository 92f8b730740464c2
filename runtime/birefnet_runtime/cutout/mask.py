"""The subject in an alpha: whether there is one, where it is, and alpha without specks and holes.

A piece is what hangs together in what is not background, a hole what hangs together in what is not
opaque. So a piece is taken with its soft edge and a hole filled with its own, and no step stays.
Hairs that are thin, faint or broken hang together with the subject; what shines through between
them lies in no solid part of it, and is no hole.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from ..images.picture import row_strips

SUBJECT_ALPHA = 0.5
"""Alpha from which a pixel is more subject than background. A picture with none has no subject."""
BOX_ALPHA = 0.1
"""Alpha from which a pixel counts for the box: hair is faint, and so are ghosts of the background
below that."""
BACKGROUND_ALPHA = 0.02
"""Alpha up to which a pixel is background; one that lacks no more than this is opaque."""
PIECE_REACH = 0.005
"""Of the picture's longer side. Pieces with a gap of less than twice that are one, and a hole has
a wall of more around it (benchmarks/results/clean.json has other values)."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Subject of an alpha.

    Attributes:
        found: whether any pixel is more subject than background.
        box: (top, left, bottom, right) in pixels, the last two beyond the subject; None if none was
            found.
        share: the mean of alpha, in [0, 1].
    """

    found: bool
    box: tuple[int, int, int, int] | None
    share: float


def find_subject(alpha: NDArray[np.float32]) -> Subject:
    """Find the subject in an alpha, float32 (H, W) in [0, 1]."""
    share = float(cv2.mean(alpha)[0])
    if cv2.minMaxLoc(alpha)[1] < SUBJECT_ALPHA:
        return Subject(found=False, box=None, share=share)
    faint = alpha >= np.float32(BOX_ALPHA)
    rows, columns = np.flatnonzero(faint.any(axis=1)), np.flatnonzero(faint.any(axis=0))
    box = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    return Subject(found=True, box=box, share=share)


def widen(
    box: tuple[int, int, int, int], margin: float, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """A box with a margin on all sides, within a picture.

    Args:
        box: (top, left, bottom, right).
        margin: as a share of the box's longer side.
        size: (height, width) of the picture.
    """
    top, left, bottom, right = box
    pixels = round(margin * max(bottom - top, right - left))
    return (
        max(0, top - pixels),
        max(0, left - pixels),
        min(size[0], bottom + pixels),
        min(size[1], right + pixels),
    )


@dataclass(frozen=True, slots=True)
class Clean:
    """What is cleaned out of an alpha.

    Attributes:
        smallest: pieces and holes of less area than this share of the main piece's go, in [0, 1].
            By default what is about 7% as long as the subject.
        main: all pieces but the main one go, whatever their size.
    """

    smallest: float = 0.005
    main: bool = False

    def apply(self, alpha: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take out specks, and fill holes.

        The main piece is the one with the most area, counted by its alpha. A hole is surrounded by
        the subject and clear somewhere: what shines through all over, as glass and veils do, stays.

        Args:
            alpha: float32 (H, W) in [0, 1].

        Returns:
            float32 (H, W) in [0, 1]; `alpha` itself where there was nothing to do.
        """
        pieces = _joined(alpha > np.float32(BACKGROUND_ALPHA))
        area = _sums(pieces, alpha)
        area[0] = 0
        main_area = area.max()
        specks = area < (main_area if self.main else self.smallest * main_area)
        specks[0] = False
        if specks.any():
            alpha = np.where(specks[pieces], np.float32(0), alpha)
        del pieces
        return _without_holes(alpha, self.smallest * main_area)


def parse_clean(text: str) -> Clean:
    """Read `specks`, `main`, or the size of the largest speck, as `0.5%`.

    Raises:
        OutputError: it is none of them.
    """
    if text in {"specks", "main"}:
        return Clean(main=text == "main")
    try:
        percent = float(text.removesuffix("%"))
        if not (text.endswith("%") and 0 <= percent <= 100):
            raise ValueError("no percent")
    except ValueError as error:
        raise OutputError(
            f"{text[:40]!r} is not something to clean; give specks, main, or a share of the "
            "subject's area as 0.5%"
        ) from error
    return Clean(percent / 100)


def _without_holes(alpha: NDArray[np.float32], smallest: float) -> NDArray[np.float32]:
    """Fill what is enclosed, clear somewhere and of less area than `smallest` pixels."""
    holes = _joined(alpha < np.float32(1 - BACKGROUND_ALPHA))
    border = np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]])
    enclosed = np.ones(int(holes.max()) + 1, np.bool_)
    enclosed[0] = enclosed[border] = False
    if not enclosed.any():
        return alpha
    clear = _sums(holes, alpha, lambda part: part < np.float32(BOX_ALPHA)) > 0
    filled = enclosed & clear & (_sums(holes, alpha, lambda part: 1 - part) < smallest)
    return np.where(filled[holes], np.float32(1), alpha) if filled.any() else alpha


def _joined(shown: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Number what hangs together or nearly so, int32 (H, W); 0 is the rest."""
    reach = max(1, round(PIECE_REACH * max(shown.shape)))
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    near = cv2.dilate(shown.view(np.uint8), window)
    return np.asarray(cv2.connectedComponents(near, ltype=cv2.CV_32S)[1], np.int32)


def _sums(
    labels: NDArray[np.int32],
    alpha: NDArray[np.float32],
    count: Callable[[NDArray[np.float32]], NDArray[Any]] = lambda part: part,
) -> NDArray[np.float64]:
    """The sum of what counts at each label, strip by strip: `bincount` makes wide copies."""
    sums = np.zeros(int(labels.max()) + 1)
    for part in row_strips(labels.shape):
        values = count(alpha[part]).ravel()
        sums += np.bincount(labels[part].ravel(), values, minlength=sums.size)
    return sums
