"""What bringing the mask back to the photograph's size costs, in accuracy and in time.

`python -m studies.pictures.mask_resize FILE`.

Subjects whose alpha is known are drawn at 12 megapixels. Each alpha, averaged down to the network's
size, stands for the mask of a perfect network; brought back, it is compared with what was drawn.
"""

import dataclasses
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results_file import write_results
from birefnet_models.base.text import format_seconds
from birefnet_runtime.model.graph_io import resize_mask
from numpy.typing import NDArray
from PIL import Image

from studies.pictures.composites import EDGES, make_composite
from studies.pictures.foreground import took

LARGE = (3000, 4000)
NETWORK = (1024, 1024)
SEEDS = range(2)

Mask = NDArray[np.float32]


def bilinear(mask: Mask) -> Mask:
    """OpenCV's bilinear filter of the float mask."""
    return np.asarray(cv2.resize(mask, LARGE[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def pillow(mask: Mask) -> Mask:
    """Pillow's bicubic filter of the float mask."""
    large = Image.fromarray(mask).resize(LARGE[::-1], Image.Resampling.BICUBIC)
    return np.asarray(large, np.float32).clip(0, 1)


def ours(mask: Mask) -> Mask:
    """The runtime's: the same, with what the filter overshoots cut off after each direction."""
    return resize_mask(mask, LARGE)


def card(mask: Mask) -> Mask:
    """The model card's lines: cut to 8 bits, then Pillow's default, which is bicubic."""
    levels = Image.fromarray((mask * 255).astype(np.uint8))
    return np.asarray(levels.resize(LARGE[::-1]), np.float32) / np.float32(255)


METHODS: dict[str, Callable[[Mask], Mask]] = {
    "bilinear, float32": bilinear,
    "bicubic, float32, Pillow": pillow,
    "bicubic, float32, birefnet-ort": ours,
    "bicubic, 8 bits, Pillow (model card)": card,
}


def errors() -> dict[str, dict[str, float]]:
    """Mean absolute errors in levels of 255, by method: at the edge, where the drawn alpha is
    partial, by kind of edge, and everywhere. `from_card` is the largest difference to the card's
    mask, both rounded to 8 bits."""
    sums: dict[str, dict[str, float]] = {name: {"from_card": 0.0} for name in METHODS}
    cases = [(edge, seed) for edge in EDGES for seed in SEEDS]
    for edge, seed in cases:
        alpha = make_composite(edge, seed, LARGE).alpha
        mask = np.asarray(
            cv2.resize(alpha, NETWORK[::-1], interpolation=cv2.INTER_AREA), np.float32
        )
        edges = (alpha > 0.02) & (alpha < 0.98)
        expected = np.rint(card(mask) * 255)
        for name, method in METHODS.items():
            large = method(mask)
            off = np.abs(large - alpha) * 255
            for key, mean, times in (
                (f"{edge}_edge_mae", off[edges].mean(), len(SEEDS)),
                ("mae", off.mean(), len(cases)),
            ):
                sums[name][key] = sums[name].get(key, 0.0) + float(mean) / times
            from_card = float(np.abs(np.rint(large * 255) - expected).max())
            sums[name]["from_card"] = max(sums[name]["from_card"], from_card)
    return sums


def markdown_table(stored: dict[str, Any]) -> str:
    """One row a method, from the content of a results file."""
    edges = " | ".join(f"{edge}: MAE at the edge" for edge in EDGES)
    lines = [
        f"| mask to 12 megapixels | {edges} | MAE | from the card's | time |",
        "| --- |" + " --- |" * (len(EDGES) + 3),
    ]
    for name, result in stored["methods"].items():
        cells = [f"{result[f'{edge}_edge_mae']:.2f}" for edge in EDGES]
        cells += [f"{result['mae']:.3f}", f"{result['from_card']:.0f}"]
        lines.append(f"| {name} | {' | '.join(cells)} | {format_seconds(result['median_s'])} |")
    machine = stored["environment"]
    lines += [
        "",
        "Errors in levels of 255, of drawn subjects whose alpha, averaged to 1024 x 1024, was "
        "brought back to 3000 x 4000; the largest difference to the model card's mask. "
        f"{machine['processor']}, {machine['cores']} cores.",
    ]
    return "\n".join(lines)


def main(file: str) -> None:
    """Measure everything and write the results file."""
    noise = np.random.default_rng(0).random(NETWORK, np.float32)
    methods = {
        name: result | took(partial(METHODS[name], noise)) for name, result in errors().items()
    }
    results = {"environment": dataclasses.asdict(read_environment()), "methods": methods}
    write_results(Path(file), results)
    print(markdown_table(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
