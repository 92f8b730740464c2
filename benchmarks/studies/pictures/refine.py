"""What a second look gains where the subject fills little of the picture, and what it costs.

`python -m studies.pictures.refine FILE`.

Subjects whose alpha is known lie somewhere in pictures of 12 megapixels, over drawn backgrounds:
drawn ones and the flowers of `examples/photos`, whose mask is among those of `models/nano`. They
are cut out in one look and in two, by `nano` and by a perfect network, which stands for one that
is better than all: it answers with the alpha itself, as fine as a network of 1024 x 1024 can.
"""

import dataclasses
import statistics
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import write_results
from birefnet_export.verify.masks import boundary_iou
from birefnet_runtime import Segmenter, estimate_foreground
from birefnet_runtime.cutout import refine
from birefnet_runtime.cutout.mask import BOX_ALPHA
from birefnet_runtime.cutout.refine import (
    LEAST_AGREEMENT,
    MOST_WINDOW_SHARE,
    WINDOW_MARGIN,
    Refined,
)
from numpy.typing import NDArray
from PIL import Image

from studies.pictures.composites import draw_texture, make_composite, mix
from studies.tables import table_lines

LARGE = (3000, 4000)
PATCH = (1536, 2048)
"""What subjects are drawn at, before they are scaled and put into a picture."""
SHARES = (0.05, 0.1, 0.2, 0.4)
SEEDS = range(3)
MARGINS = (0.1, 0.2, 0.35, 0.5)
REPEATS = 5
THREADS = 1
Subject: TypeAlias = Literal["fur", "soft", "hair", "photograph"]
SUBJECTS: tuple[Subject, ...] = ("fur", "soft", "photograph")
FINE: tuple[Subject, ...] = ("hair", "fur")
"""For the perfect network. nano sees no hair."""
_ROOT = Path(__file__).parents[3]
_LOGIT = 12.0
"""Beyond this the sigmoid is 0 and 1 to float32's last digits but one."""

Mask: TypeAlias = NDArray[np.float32]
Pair: TypeAlias = tuple[NDArray[np.uint8], Mask]
"""A picture, uint8 (H, W, 3) RGB, and its alpha."""


def make_case(subject: Subject, share: float, seed: int, size: tuple[int, int] = LARGE) -> Pair:
    """Put a subject somewhere into a picture.

    Args:
        subject: what is drawn, or photographed.
        share: how much of the picture the box around it takes.
        seed: of what is drawn, and of the place.
        size: (height, width) of the picture.
    """
    fore, alpha = _subject(subject, seed)
    scale = (share * size[0] * size[1] / alpha.size) ** 0.5
    height, width = (
        min(whole, max(1, round(side * scale)))
        for whole, side in zip(size, alpha.shape, strict=True)
    )
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    fore = cv2.resize(fore, (width, height), interpolation=how).clip(0, 255)
    alpha = cv2.resize(alpha, (width, height), interpolation=how).clip(0, 1)
    random = np.random.default_rng(seed)
    top, left = (
        round(random.uniform(0.1, 0.9) * (whole - side))
        for whole, side in zip(size, (height, width), strict=True)
    )
    there = slice(top, top + height), slice(left, left + width)
    truth, colors = np.zeros(size, np.float32), np.zeros((*size, 3), np.float32)
    truth[there], colors[there] = alpha, fore
    back = draw_texture(random, size, saturation=(0.85, 1.0), brightness=(0.6, 1.0), detail=3)
    return np.rint(mix(colors, back, truth, "values")).astype(np.uint8), truth


@cache
def _subject(subject: Subject, seed: int) -> tuple[NDArray[np.float32], Mask]:
    """Colors, float32 (H, W, 3) of 0-255, and alpha, within the subject's box."""
    if subject == "photograph":
        photo = np.asarray(Image.open(_ROOT / "examples/photos/flower.jpg"))
        mask = Image.open(_ROOT / "models/nano/real/flower.png").convert("L")
        mask = mask.resize((photo.shape[1], photo.shape[0]), Image.Resampling.BICUBIC)
        alpha = np.asarray(mask, np.float32) / np.float32(255)
        fore = estimate_foreground(photo, alpha).astype(np.float32)
    else:
        drawn = make_composite(subject, seed, PATCH)
        fore, alpha = drawn.fore, drawn.alpha
    seen = alpha > BOX_ALPHA
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    inside = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return fore[inside], alpha[inside]


class PerfectSession:
    """Answers with what it sees: shown an alpha as a gray picture, it finds that alpha.

    Args:
        side: of the square that it sees pictures at.
    """

    def __init__(self, side: int = 1024) -> None:
        self._side = side

    def get_inputs(self) -> list[Any]:
        return [types.SimpleNamespace(name="image", type="tensor(float)", shape=["b", 3, "h", "w"])]

    def get_outputs(self) -> list[Any]:
        return [types.SimpleNamespace(name="mask", type="tensor(float)", shape=["b", 1, "h", "w"])]

    def get_modelmeta(self) -> Any:
        facts = {"birefnet.mean": "[0.0, 0.0, 0.0]", "birefnet.std": "[1.0, 1.0, 1.0]"}
        facts["birefnet.trained_size"] = f"{self._side}x{self._side}"
        return types.SimpleNamespace(custom_metadata_map=facts)

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any]) -> list[Any]:
        alpha = input_feed["image"][:, :1].clip(1e-6, 1 - 1e-6)
        return [np.log(alpha / (1 - alpha)).clip(-_LOGIT, _LOGIT).astype(np.float32)]


def as_gray(pair: Pair) -> Pair:
    """The alpha as the picture, for `PerfectSession`."""
    levels = np.rint(pair[1] * 255).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=2), pair[1]


def compare(segmenter: Segmenter, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Errors of one look and of two, means over pictures.

    `mae_levels` is in levels of 255. `outside_zero` is that of two looks if nothing were left of
    the first one outside of the window. Pictures that are not looked at twice, or whose second look
    was dropped, count with what they are given: their first.
    """
    found: dict[str, list[float]] = {
        f"{looks}_{key}": [] for looks in ("one", "two") for key in ("mae_levels", "boundary_iou")
    }
    zeroed, windows = [], []
    for image, truth in pairs:
        prepared = segmenter.prepare(image)
        (prediction,) = segmenter.run([prepared])
        first, window = prediction, (0, 0, *truth.shape)
        if isinstance(prediction, Refined):
            first, window = prediction.first, prediction.window
            windows.append(_area(window) / truth.size)
        for looks, each in (("one", first), ("two", prediction)):
            alpha = segmenter.finish(prepared, each)
            found[f"{looks}_mae_levels"].append(float(np.abs(alpha - truth).mean()) * 255)
            found[f"{looks}_boundary_iou"].append(boundary_iou(alpha >= 0.5, truth >= 0.5))
        outside = np.ones(truth.shape, bool)
        outside[window[0] : window[2], window[1] : window[3]] = False
        alpha[outside] = 0
        zeroed.append(float(np.abs(alpha - truth).mean()) * 255)
    means = {key: float(np.mean(values)) for key, values in found.items()}
    means |= {"two_mae_levels_outside_zero": float(np.mean(zeroed))}
    return means | {"pictures": len(pairs), "looked_twice": len(windows), "windows": windows}


def _area(window: tuple[int, int, int, int]) -> int:
    return (window[2] - window[0]) * (window[3] - window[1])


def time_of_both(once: Segmenter, twice: Segmenter, image: NDArray[np.uint8]) -> dict[str, Any]:
    """Seconds from pixels to alpha of one look and of two, taken in turns."""
    times: dict[str, list[float]] = {"one": [], "two": []}
    for _ in range(REPEATS + 1):
        for name, segmenter in (("one", once), ("two", twice)):
            started = perf_counter()
            segmenter.alpha(image)
            times[name].append(perf_counter() - started)
    one, two = (statistics.median(times[name][1:]) for name in ("one", "two"))
    return {"one_median_s": one, "two_median_s": two, "ratio": two / one, "times_s": times}


def compare_shares(segmenter: Segmenter, case: Callable[[float], list[Pair]]) -> dict[str, Any]:
    """`compare` by the share of the picture that the subject's box takes."""
    return {f"{share:g}": compare(segmenter, case(share)) for share in SHARES}


def compare_margins(segmenter: Segmenter) -> dict[str, Any]:
    """Errors by the window's margin, of the smallest subjects, with every second look taken."""
    pairs = [make_case(kind, SHARES[0], seed) for kind in SUBJECTS for seed in SEEDS]
    found = {}
    try:
        refine.LEAST_AGREEMENT = 0.0
        for margin in MARGINS:
            refine.WINDOW_MARGIN = margin
            found[f"{margin:g}"] = compare(segmenter, pairs)
    finally:
        refine.WINDOW_MARGIN, refine.LEAST_AGREEMENT = WINDOW_MARGIN, LEAST_AGREEMENT
    return found


def markdown_table(stored: dict[str, Any]) -> str:
    """A row for each share, from the content of a results file."""
    rows = []
    for share in (f"{share:g}" for share in SHARES):
        kinds = [stored["nano"][kind][share] for kind in SUBJECTS]
        cells = [f"{float(share):.0%}", *(_change([each], "mae_levels", 2) for each in kinds)]
        cells.append(_change(kinds, "boundary_iou", 3))
        perfect = [stored["perfect"][share]]
        cells += [_change(perfect, "mae_levels", 2), _change(perfect, "boundary_iou", 3)]
        looked, of = (sum(each[key] for each in kinds) for key in ("looked_twice", "pictures"))
        rows.append([*cells, f"{looked} of {of}"])
    heads = ("box", "nano: MAE, fur", "out of focus", "photograph", "boundary IoU",
             "perfect: MAE", "boundary IoU", "run twice")  # fmt: skip
    machine, times = stored["environment"], stored["time"]
    return "\n".join(
        [
            *table_lines(heads, rows),
            "",
            "From one run to two, by the share of a picture of 12 megapixels that the subject's "
            "box takes; MAE in levels of 255. Perfect: the alpha itself, of hair and fur, at "
            "1024 x 1024. "
            f"Of nano's time, from pixels to alpha, two runs take {times['ratio']:.2f} times that "
            f"of one; {stored['threads']} thread, {machine['processor']}.",
        ]
    )


def _change(found: Sequence[dict[str, Any]], key: str, digits: int) -> str:
    """A mean figure in one look and in two."""
    one, two = (
        statistics.mean(each[f"{looks}_{key}"] for each in found) for looks in ("one", "two")
    )
    return f"{one:.{digits}f} to {two:.{digits}f}"


def main(file: str) -> None:
    """Measure everything and write the results file."""
    nano = Segmenter("nano", threads=THREADS, refine=True)
    perfect = Segmenter.from_session(PerfectSession(), refine=True)

    def fine(share: float) -> list[Pair]:
        return [as_gray(make_case(kind, share, 0)) for kind in FINE]

    results: dict[str, Any] = {
        "environment": dataclasses.asdict(read_environment()),
        "threads": THREADS,
        "size": LARGE,
        "settings": {
            "margin": WINDOW_MARGIN,
            "largest": MOST_WINDOW_SHARE,
            "agreement": LEAST_AGREEMENT,
        },
        "nano": {kind: compare_shares(nano, _cases(kind)) for kind in SUBJECTS},
        "perfect": compare_shares(perfect, fine),
        "margins": compare_margins(nano),
    }
    image, _ = make_case("fur", SHARES[0], 0)
    results["time"] = time_of_both(Segmenter("nano", threads=THREADS), nano, image)
    write_results(Path(file), results)
    print(markdown_table(results))


def _cases(kind: Subject) -> Callable[[float], list[Pair]]:
    return lambda share: [make_case(kind, share, seed) for seed in SEEDS]


if __name__ == "__main__":
    main(*sys.argv[1:])
