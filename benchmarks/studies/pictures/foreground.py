"""How good and how fast foreground colors are.

`python -m studies.pictures.foreground FILE`.

Blur fusion against doing nothing and, where the `matting` extra is installed, pymatting;
compositing on the values against linear light; PNG writing against Pillow's.
"""

import dataclasses
import io
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import write_results
from birefnet_models.base.text import format_seconds
from birefnet_runtime import MissingExtraError, estimate_foreground
from birefnet_runtime.cutout.foreground import Estimator
from birefnet_runtime.images.png import write_png
from PIL import Image

from studies.pictures.composites import EDGES, Composite, Light, make_composite, mix
from studies.tables import table_lines

SEEDS = range(4)
LARGE = (3000, 4000)
REPEATS = 5
LIGHTS: tuple[Light, ...] = get_args(Light)


def in_band(composite: Composite) -> Any:
    """Where alpha is partial: bool (H, W)."""
    return (composite.alpha > 0.02) & (composite.alpha < 0.98)


def errors(composites: Sequence[Composite], estimator: Estimator) -> dict[str, float]:
    """Of the foreground's colors in the unknown band, over all composites.

    SAD is the mean absolute difference of a channel in levels of 255, MSE the mean square of
    differences in [0, 1].
    """
    differences = []
    for each in composites:
        found = estimate_foreground(each.image, each.alpha, estimator=estimator)
        differences.append((found.astype(np.float32) - each.fore)[in_band(each)])
    together = np.concatenate(differences)
    return {
        "sad_levels": float(np.abs(together).mean()),
        "mse": float(np.square(together / 255).mean()),
    }


def took(work: Callable[[], object]) -> dict[str, Any]:
    """Wall times of some runs after a first one, and their median."""
    work()
    times, cpu = [], []
    for _ in range(REPEATS):
        started, busy = time.perf_counter(), time.process_time()
        work()
        times.append(time.perf_counter() - started)
        cpu.append(time.process_time() - busy)
    return {"median_s": statistics.median(times), "cpu_s": statistics.median(cpu), "times_s": times}


def compare_estimators() -> dict[str, Any]:
    """Errors by kind of edge, and the time of 12 megapixels."""
    large = make_composite("hair", 0, LARGE)
    everywhere = np.full(LARGE, 0.5, np.float32)
    found: dict[str, Any] = {}
    estimators: tuple[Estimator, ...] = ("none", "blur", "pymatting")
    for name in estimators:
        try:
            estimate_foreground(large.image[:64, :64], large.alpha[:64, :64], estimator=name)
        except MissingExtraError as error:
            print(f"{name} left out: {error}", file=sys.stderr)
            continue
        found[name] = {
            edge: errors([make_composite(edge, seed) for seed in SEEDS], name) for edge in EDGES
        }
        for case, alpha in (("hair", large.alpha), ("all_partial", everywhere)):
            work = _estimating(large.image, alpha, name)
            found[name][f"time_{case}"] = took(work)
    return {"size": LARGE, "band_share": float(in_band(large).mean()), "estimators": found}


def _estimating(image: Any, alpha: Any, estimator: Estimator) -> Callable[[], object]:
    return lambda: estimate_foreground(image, alpha, estimator=estimator)


def compare_lights() -> dict[str, dict[str, float]]:
    """MSE of the subject before a new background, by how the picture mixed and how it is composed.

    The subject's colors are blur fusion's, as in a cutout.
    """
    found: dict[str, dict[str, float]] = {}
    for truth in LIGHTS:
        squares: dict[Light, list[float]] = {light: [] for light in LIGHTS}
        for seed in SEEDS:
            old = make_composite("hair", seed, light=truth)
            behind = make_composite("hair", seed + 100).back
            fore = estimate_foreground(old.image, old.alpha).astype(np.float32)
            expected = mix(old.fore, behind, old.alpha, truth)
            for light in LIGHTS:
                difference = (mix(fore, behind, old.alpha, light) - expected)[in_band(old)]
                squares[light].append(float(np.square(difference / 255).mean()))
        found[f"truth_{truth}"] = {str(light): float(np.mean(squares[light])) for light in LIGHTS}
    return found


def compare_pngs(photos: Path) -> dict[str, Any]:
    """Bytes and CPU seconds of a 12-megapixel cutout with the grain of real photographs."""
    alpha = make_composite("hair", 0, LARGE).alpha
    tiles = [np.asarray(Image.open(photo).convert("RGB")) for photo in sorted(photos.glob("*.jpg"))]
    row = np.concatenate(tiles, axis=1)
    repeats = (-(-LARGE[0] // row.shape[0]), -(-LARGE[1] // row.shape[1]), 1)
    colors = np.tile(row, repeats)[: LARGE[0], : LARGE[1]]
    cutout = np.dstack([estimate_foreground(colors, alpha), np.rint(alpha * 255)])
    cutout = cutout.astype(np.uint8)

    def ours() -> bytes:
        stream = io.BytesIO()
        write_png(stream, cutout)
        return stream.getvalue()

    def pillows(level: int) -> Callable[[], bytes]:
        def write() -> bytes:
            stream = io.BytesIO()
            Image.fromarray(cutout).save(stream, "PNG", compress_level=level)
            return stream.getvalue()

        return write

    writers = {"birefnet-ort": ours} | {f"Pillow level {level}": pillows(level) for level in (1, 6)}
    return {name: {"bytes": len(write()), **took(write)} for name, write in writers.items()}


def markdown_table(stored: dict[str, Any]) -> str:
    """One row an estimator, from the content of a results file."""
    compared, machine = stored["foreground"], stored["environment"]
    rows = []
    for name, found in compared["estimators"].items():
        cells = [name]
        for edge in EDGES:
            cells += [f"{found[edge]['sad_levels']:.1f}", f"{found[edge]['mse']:.4f}"]
        times = [
            format_seconds(found[f"time_{case}"]["median_s"]) for case in ("hair", "all_partial")
        ]
        rows.append([*cells, " to ".join(times)])
    lines = table_lines(
        (
            "foreground",
            "hair: SAD",
            "MSE",
            "fur: SAD",
            "MSE",
            "blurred: SAD",
            "MSE",
            "12 megapixels",
        ),
        rows,
    )
    lines += [
        "",
        "Errors where alpha is partial, of drawn subjects over saturated backgrounds: SAD in "
        f"levels of 255, MSE of [0, 1]. Time with {compared['band_share']:.0%} of the picture "
        f"partial, to all of it; {machine['processor']}, {machine['cores']} cores.",
    ]
    return "\n".join(lines)


def main(file: str) -> None:
    """Measure everything and write the results file."""
    results = {
        "environment": dataclasses.asdict(read_environment()),
        "foreground": compare_estimators(),
        "compositing_mse": compare_lights(),
        "png": compare_pngs(Path("examples/photos")),
    }
    write_results(Path(file), results)
    print(markdown_table(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
