"""The subject's own colors where it is partly transparent, without the old background in them.

A pixel of a photograph is I = alpha F + (1 - alpha) B. What is left of B in a cutout is a halo on
any other background, so F has to be estimated. Two ways:

- `blur`: blur fusion, twice (M. Forte, "Approximate Fast Foreground Color Estimation", ICIP 2021;
  what upstream BiRefNet uses), with OpenCV's box filters; the wide one, on which nothing fine can
  hang, on a coarser grid.
- `pymatting`: `estimate_foreground_ml` of the package of that name, an extra (T. Germer et al.,
  "Fast Multi-Level Foreground Estimation", arXiv 2006.14970).
"""

import atexit
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import Any, Literal, TypeAlias, get_args

import cv2
import numpy as np
from birefnet_models.base.extras import naming_extras
from birefnet_models.base.text import format_size
from numpy.typing import NDArray

from ..errors import ImageError
from ..images.picture import Pixels, as_share, full_scale
from ..machine import usable_cores

Estimator: TypeAlias = Literal["blur", "pymatting", "none"]
ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)

WIDE, NARROW = 92, 7
"""Sides of the box windows of the two passes, in pixels. Upstream's are 90 and 6; an odd number of
cells, or pixels, has its own in the middle."""

CELL = 4
"""Side of the cells whose means the wide window is taken over."""

TILE = 256
"""Side of the tiles that are worked on, a multiple of `CELL`. Tiles without a partly transparent
pixel cost nothing."""

_REACH = WIDE // 2 + CELL + 2
"""How far beyond a tile pixels count: a multiple of `CELL`, like the places of tiles."""
_LEAST = 0.5 / 255
"""Alpha nearer than this to 0 or 1 is taken for it: no 8-bit mask tells them apart."""
_EPSILON = 1e-5

_Floats: TypeAlias = NDArray[np.float32]


def estimate_foreground(
    pixels: Pixels,
    alpha: NDArray[np.float32],
    *,
    opacity: Pixels | None = None,
    estimator: Estimator = "blur",
    threads: int | None = None,
    out: Pixels | None = None,
) -> Pixels:
    """Estimate the colors of the subject.

    Where alpha is 1 they are the picture's. Where it is 0, the subject's colors reach some pixels
    over its edge, for programs that scale colors and alpha apart, and beyond that all is black.

    Args:
        pixels: uint8 or uint16 (H, W, 3) RGB.
        alpha: float32 (H, W) in [0, 1], of the subject.
        opacity: the picture's own alpha; the colors below transparent pixels then count for
            nothing.
        estimator: `blur`, `pymatting`, or `none` for the picture's colors as they are.
        threads: by default as many as cores may be used.
        out: where to write, of the picture's shape and type; may be a view.

    Returns:
        (H, W, 3) RGB of the picture's type, not premultiplied; `out` if that was given.

    Raises:
        ImageError: alpha is not of the picture's size.
        MissingExtraError: `pymatting` is not installed.
    """
    if alpha.shape != pixels.shape[:2]:
        raise ImageError(
            f"the alpha is {format_size(alpha.shape)}, the picture "
            f"{format_size(pixels.shape[:2])}: both have to be of one size"
        )
    if out is None:
        out = np.empty_like(pixels)
    if estimator == "none":
        out[...] = pixels
    elif estimator == "pymatting":
        _store(_by_pymatting(pixels, alpha), out)
    else:
        _by_blur_fusion(pixels, alpha, opacity, threads or usable_cores(), out)
    return out


def _by_blur_fusion(
    pixels: Pixels,
    alpha: NDArray[np.float32],
    opacity: Pixels | None,
    threads: int,
    out: Pixels,
) -> None:
    """Tile by tile; the seams are exact, since each tile is computed with all that reaches it."""

    def work(place: tuple[slice, slice]) -> None:
        near = _grow(place, CELL, alpha.shape)
        low, high, _, _ = cv2.minMaxLoc(alpha[near])
        if high < _LEAST:
            out[place] = 0
        elif low > 1 - _LEAST:
            out[place] = pixels[place]
        else:
            around = _grow(place, _REACH, alpha.shape)
            weight = None if opacity is None else as_share(opacity[around])
            fused = _fuse(
                pixels[around].astype(np.float32), alpha[around], weight, _within(near, around)
            )
            _store(fused[_within(place, near)], out[place])

    with _opencv_threads_off, ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, _tiles(alpha.shape)):
            pass  # what a tile raises is raised here


def _fuse(
    image: _Floats, alpha: _Floats, weight: _Floats | None, near: tuple[slice, slice]
) -> _Floats:
    """Equations 4 to 7 of the paper, with a wide window and with a narrow one.

    The narrow mean of the background is left out: over so few pixels the wide one doesn't change.

    Args:
        image: float32 (h, w, 3).
        alpha: float32 (h, w) in [0, 1].
        weight: float32 (h, w), how much each pixel counts; None: all alike.
        near: the part that is wanted, from multiples of `CELL` on.

    Returns:
        float32 (h, w, 3) of that part, on the image's scale; may lie a little out of its range.
    """
    # No weight for a background that isn't seen, nor for a subject that isn't.
    _, seen = cv2.threshold(alpha, _LEAST, 0, cv2.THRESH_TOZERO)
    _, unseen = cv2.threshold(1 - seen, _LEAST, 0, cv2.THRESH_TOZERO)
    alpha = of_fore = np.asarray(1 - unseen, np.float32)
    if weight is not None:
        of_fore = of_fore * weight
    fore, back = _wide_means(image, of_fore, weight, near)
    image, alpha, of_fore = image[near], alpha[near], of_fore[near]
    rest, share = image - back, _thrice(alpha)
    fore = _fitted(fore, back, rest, share)
    return _fitted(_mean_of(fore * _thrice(of_fore), of_fore, NARROW), back, rest, share)


def _fitted(fore: _Floats, back: _Floats, rest: _Floats, alpha: Any) -> _Floats:
    """F + alpha (I - alpha F - (1 - alpha) B) of the means F and B; `rest` is I - B."""
    fitted = fore - back
    fitted *= alpha
    np.subtract(rest, fitted, out=fitted)
    fitted *= alpha
    fitted += fore
    return fitted


def _wide_means(
    image: _Floats, of_fore: _Floats, weight: _Floats | None, near: tuple[slice, slice]
) -> tuple[_Floats, _Floats]:
    """Means of subject and background over the wide window, for the part `near`.

    Cell by cell, then in between; what is not the subject's of a cell is the background's.
    """
    # One cell more on each side, to interpolate with.
    cells = tuple(slice(max(side.start // CELL - 1, 0), -(-side.stop // CELL) + 1) for side in near)
    top, left = (side.start - CELL * part.start for side, part in zip(near, cells, strict=True))
    height, width = (side.stop - side.start for side in near)

    def mean(shares: Any, weights: Any) -> _Floats:
        coarse = _mean_of(shares, weights, WIDE // CELL)[cells]
        size = CELL * coarse.shape[1], CELL * coarse.shape[0]
        fine = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(fine[top : top + height, left : left + width], np.float32)

    shares, weights = _cells(image * _thrice(of_fore)), _cells(of_fore)
    all_shares = _cells(image if weight is None else image * _thrice(weight))
    all_weights = _cells(np.ones_like(of_fore) if weight is None else weight)
    return mean(shares, weights), mean(all_shares - shares, all_weights - weights)


def _thrice(weight: Any) -> Any:
    """float32 (h, w) to (h, w, 3), faster than broadcasting it."""
    return cv2.merge([weight, weight, weight])


def _cells(values: Any) -> Any:
    """Means over cells of `CELL` by `CELL` pixels; what is missing in the last ones is zero."""
    missing = [-side % CELL for side in values.shape[:2]]
    if any(missing):
        values = cv2.copyMakeBorder(values, 0, missing[0], 0, missing[1], cv2.BORDER_CONSTANT)
    height, width = (side // CELL for side in values.shape[:2])
    return cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA)


def _mean_of(shares: Any, weights: Any, side: int) -> _Floats:
    """Weighted mean over a square window, of what its weights are multiplied into.

    Zero where no pixel counts.
    """
    mean: Any = cv2.blur(shares, (side, side))
    around: Any = cv2.blur(weights, (side, side))
    around += np.float32(_EPSILON)
    mean /= _thrice(around)
    return np.asarray(mean, dtype=np.float32)


def _by_pymatting(pixels: Pixels, alpha: NDArray[np.float32]) -> _Floats:
    with naming_extras():
        estimate_foreground_ml = _pymatting()
    scale = np.float32(full_scale(pixels))
    colors: _Floats = estimate_foreground_ml(pixels / scale, alpha) * scale
    return colors


@cache
def _pymatting() -> Callable[..., Any]:
    """The function of that package, which compiles itself by numba when it is imported.

    numba keeps what it compiled beside the package or in the home directory, and fails where
    neither can be written: then in a folder that goes with the process.
    """
    try:
        from pymatting import estimate_foreground_ml
    except RuntimeError as error:
        settings = sys.modules.get("numba.core.config")
        if "cannot cache" not in str(error) or settings is None:
            raise
        folder = tempfile.mkdtemp(prefix="birefnet-numba-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        settings.CACHE_DIR = folder  # type: ignore[attr-defined]
        for name in [name for name in sys.modules if name.partition(".")[0] == "pymatting"]:
            del sys.modules[name]
        from pymatting import estimate_foreground_ml
    function: Callable[..., Any] = estimate_foreground_ml
    return function


def _store(colors: _Floats, out: Pixels) -> None:
    """Round into whole numbers of the picture's type."""
    np.rint(colors, out=colors)
    np.clip(colors, 0, full_scale(out), out=colors)
    out[...] = colors


class _OpencvThreadsOff:
    """Keeps OpenCV to the calling thread while any picture is worked on.

    Its own threads take turns at a lock: two tiles at once then take as long as one after the
    other. The setting is the process's, so the last one out puts it back.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._before = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._before = cv2.getNumThreads()
                cv2.setNumThreads(1)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                cv2.setNumThreads(self._before)


_opencv_threads_off = _OpencvThreadsOff()


def _tiles(size: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    for top in range(0, size[0], TILE):
        for left in range(0, size[1], TILE):
            yield slice(top, min(top + TILE, size[0])), slice(left, min(left + TILE, size[1]))


def _within(place: tuple[slice, slice], around: tuple[slice, slice]) -> tuple[slice, slice]:
    """A place as counted from the start of another that holds it."""
    rows, columns = (
        slice(inner.start - outer.start, inner.stop - outer.start)
        for inner, outer in zip(place, around, strict=True)
    )
    return rows, columns


def _grow(place: tuple[slice, slice], margin: int, size: tuple[int, ...]) -> tuple[slice, slice]:
    rows, columns = place
    return (
        slice(max(0, rows.start - margin), min(rows.stop + margin, size[0])),
        slice(max(0, columns.start - margin), min(columns.stop + margin, size[1])),
    )
