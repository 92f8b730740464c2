"""What `birefnet video --smooth` gains where nothing moves, and what it costs at moving edges.

`python -m studies.pictures.steadiness FILE`.

Films with sensor noise and known alpha are drawn: a subject that stands still, and one that moves.
`nano` cuts them out frame by frame. Its masks are taken as they are, through a plain mean in time
of the same weight, and through the filter.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from birefnet_apps.video import smoothing as steady
from birefnet_apps.video.smoothing import SteadyMask
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results_file import write_results
from birefnet_runtime import Picture, Segmenter
from numpy.typing import NDArray

from studies.pictures.composites import Edge, make_composite, mix
from studies.tables import table_lines

SIZE = (360, 480)
FRAMES = 24
SETTLED = 8
"""Frames that a filter has seen before it counts."""
EDGES: tuple[Edge, ...] = ("fur", "soft")
NOISES = (2.0, 5.0, 10.0)
"""Standard deviations, in levels of 255."""
SPEEDS = (0.25, 1.0, 4.0)
"""Pixels a frame."""
AROUNDS = (5, 9, 15)
THRESHOLDS = ((1.15, 1.4), (1.25, 1.75), (1.5, 2.5))
THREADS = 1

Mask: TypeAlias = NDArray[np.float32]
Filter: TypeAlias = Callable[[Picture, Mask], Mask]
Frame: TypeAlias = tuple[Picture, Mask, Mask]
"""With the network's mask, and the true one."""


def film(edge: Edge, noise: float, speed: float, seed: int = 0) -> Iterator[tuple[Picture, Mask]]:
    """Draw frames: a subject that moves to the right, and its alpha.

    Args:
        edge: of the subject.
        noise: of the sensor, a standard deviation in levels of 255.
        speed: pixels a frame.
        seed: of what is drawn, and of the noise.
    """
    drawn = make_composite(edge, seed, SIZE)
    random = np.random.default_rng(seed)
    for frame in range(FRAMES):
        moved = (frame - FRAMES / 2) * speed
        alpha = _shifted(drawn.alpha, moved, cv2.BORDER_CONSTANT)
        fore = _shifted(drawn.fore, moved, cv2.BORDER_REPLICATE)
        pixels = mix(fore, drawn.back, alpha, "values")
        noisy = pixels + random.normal(0, noise, pixels.shape)
        yield Picture(np.rint(noisy.clip(0, 255)).astype(np.uint8)), alpha


def _shifted(pixels: NDArray[np.float32], along: float, beyond: int) -> NDArray[np.float32]:
    """Moved to the right by a number of pixels that needn't be whole."""
    matrix = np.array([[1, 0, along], [0, 1, 0]], np.float32)
    shifted = cv2.warpAffine(pixels, matrix, SIZE[::-1], flags=cv2.INTER_LINEAR, borderMode=beyond)
    return np.asarray(shifted, np.float32)


class PlainMean:
    """A mean in time of the filter's weight, everywhere."""

    def __init__(self) -> None:
        self._alpha: Mask | None = None

    def __call__(self, _: Picture, alpha: Mask) -> Mask:
        old = alpha if self._alpha is None else self._alpha
        self._alpha = old + (alpha - old) * np.float32(steady.SLOWEST)
        return self._alpha


FILTERS: dict[str, Callable[[], Filter]] = {
    "as they are": lambda: lambda _, alpha: alpha,
    "plain mean": PlainMean,
    "--smooth": SteadyMask,
}


def cut_out(segmenter: Segmenter, edge: Edge, noise: float, speed: float) -> list[Frame]:
    """A film's frames with the network's masks and the true ones."""
    frames = []
    for picture, truth in film(edge, noise, speed):
        prepared = segmenter.prepare(picture.pixels)
        (prediction,) = segmenter.run([prepared])
        frames.append((picture, segmenter.finish(prepared, prediction), truth))
    return frames


def measure(films: Sequence[Sequence[Frame]], make: Callable[[], Filter]) -> dict[str, float]:
    """Figures of a filter in levels of 255, means over films.

    `flicker_levels` is the mean absolute difference of the mask from a frame to the next, which of
    a subject that stands still is all flicker; `mae_levels` the error against the truth.
    """
    changes, errors = [], []
    for frames in films:
        smooth = make()
        shown = [smooth(picture, alpha) for picture, alpha, _ in frames][SETTLED:]
        truths = [truth for *_, truth in frames][SETTLED:]
        changes.append(np.abs(np.diff(np.stack(shown), axis=0)).mean())
        errors.append(np.abs(np.stack(shown) - np.stack(truths)).mean())
    return {
        "flicker_levels": float(np.mean(changes)) * 255,
        "mae_levels": float(np.mean(errors)) * 255,
    }


def compare_settings(still: Sequence[Any], moving: Sequence[Any]) -> list[dict[str, Any]]:
    """The flicker of what stands still and the error of what moves, by the filter's settings."""
    kept = steady.AROUND, steady.STILL, steady.MOVED
    rows = []
    try:
        for around, thresholds in product(AROUNDS, THRESHOLDS):
            steady.AROUND, (steady.STILL, steady.MOVED) = around, thresholds
            flicker, error = (measure(films, SteadyMask) for films in (still, moving))
            rows.append(
                {
                    "around": around,
                    "still_moved": thresholds,
                    "still_flicker_levels": flicker["flicker_levels"],
                    "moving_mae_levels": error["mae_levels"],
                }
            )
    finally:
        steady.AROUND, steady.STILL, steady.MOVED = kept
    return rows


def markdown_table(stored: dict[str, Any]) -> str:
    """A row for each noise, from the content of a results file."""
    rows = []
    for noise in (f"{noise:g}" for noise in NOISES):
        films = {speed: by_noise[noise] for speed, by_noise in stored["films"].items()}
        cells = [noise, *(f"{films['0'][name]['flicker_levels']:.3f}" for name in FILTERS)]
        for speed in (f"{speed:g}" for speed in SPEEDS):
            figures = (films[speed][name]["mae_levels"] for name in FILTERS)
            cells.append(" / ".join(f"{figure:.2f}" for figure in figures))
        rows.append(cells)
    heads = ["noise", *(f"still: flicker, {name}" for name in FILTERS)]
    heads += [f"moves {speed:g} px a frame: MAE" for speed in SPEEDS]
    height, width = stored["size"]
    return "\n".join(
        [
            *table_lines(heads, rows),
            "",
            f"In levels of 255, of nano's masks of drawn films, {width} x {height}. Noise is the "
            "sensor's standard deviation, flicker the mean difference from a frame to the next; "
            "MAE is that of masks as they are / through a plain mean / with `--smooth`.",
        ]
    )


def main(file: str) -> None:
    """Measure everything and write the results file."""
    segmenter = Segmenter("nano", threads=THREADS)
    films: dict[str, Any] = {}
    for speed, noise in product((0.0, *SPEEDS), NOISES):
        found = [cut_out(segmenter, edge, noise, speed) for edge in EDGES]
        figures = {name: measure(found, make) for name, make in FILTERS.items()}
        films.setdefault(f"{speed:g}", {})[f"{noise:g}"] = figures
    still, moving = (
        [cut_out(segmenter, edge, NOISES[-1], speed) for edge in EDGES] for speed in (0.0, 1.0)
    )
    results = {
        "environment": dataclasses.asdict(read_environment()),
        "threads": THREADS,
        "size": SIZE,
        "settings": {
            "slowest": steady.SLOWEST,
            "around": steady.AROUND,
            "still_moved": [steady.STILL, steady.MOVED],
        },
        "films": films,
        "tried": {"noise": NOISES[-1], "speed": 1.0, "rows": compare_settings(still, moving)},
    }
    write_results(Path(file), results)
    print(markdown_table(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
