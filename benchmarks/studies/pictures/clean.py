"""What cleaning takes out of an alpha, and what it leaves: `python -m studies.pictures.clean FILE`.

Subjects whose alpha is known are drawn, and averaged to the network's size and brought back, as a
perfect network's mask would be. Cleaned, that should be what it was. Then specks and holes of known
sizes are drawn into it; cleaned, they should be gone, and nothing else.
"""

import dataclasses
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import write_results
from birefnet_models.base.text import format_seconds
from birefnet_runtime import Clean
from birefnet_runtime.cutout import mask as clean
from birefnet_runtime.model.graph_io import resize_mask
from numpy.typing import NDArray

from studies.pictures.composites import EDGES, Edge, make_composite
from studies.pictures.foreground import LARGE, took
from studies.tables import table_lines

SIZE = (1536, 2048)
NETWORK = (512, 512)
"""As much smaller as the network's 1024 x 1024 is than a photograph of 12 megapixels."""
SEEDS = range(3)
SPOTS = 12
SPOT_AREAS = (0.0002, 0.004)
"""Of the subject's area: the smallest and the largest speck or hole that is drawn."""
SOFTNESS = (0.5, 3.0)
"""Standard deviation of a speck's or hole's edge in pixels, beside what bringing back adds."""
APART = 0.011
"""Of the longer side: how far specks lie from the subject, and holes from its edge, at least."""
REACHES = (0.0, 0.002, 0.005, 0.01)
SIZES = (0.001, 0.005, 0.02)

KINDS = (*EDGES, "broken hair", "glass", "veil")
BROKEN = 0.25
"""Alpha that a network doesn't see, which leaves pieces of hairs apart from the subject."""

Alpha = NDArray[np.float32]
Spot = tuple[slice, slice]
"""Where a speck or hole was drawn, its soft edge included."""


def drawn(kind: str, seed: int) -> Alpha:
    """A subject's alpha: an edge of `composites`, or one with windows or a veil."""
    edge: Edge = "hair" if "hair" in kind else "soft" if kind == "soft" else "fur"
    alpha = make_composite(edge, seed, SIZE).alpha
    if kind not in ("glass", "veil"):
        return alpha
    random = np.random.default_rng(seed)
    height, width = SIZE
    grain = cv2.resize(random.random((24, 32), np.float32), SIZE[::-1])
    region = np.zeros(SIZE, np.uint8)
    if kind == "glass":  # windows within the body, of which the smallest are no larger than holes
        for share in (0.004, 0.01, 0.02, 0.05):
            center = (round(width * random.uniform(0.44, 0.56)), round(height * (0.45 + 4 * share)))
            axes = (round(share * width), round(0.7 * share * width))
            cv2.ellipse(region, center, axes, 0, 0, 360, 1, -1)
        inside = np.minimum(alpha, 0.15 + 0.7 * grain)
    else:  # a veil that reaches from the body into the background
        corners = np.array([[0.4, 0.4], [0.6, 0.4], [0.9, 0.85], [0.7, 0.95]]) * (width, height)
        cv2.fillPoly(region, [np.rint(corners).astype(np.int32)], 1)
        inside = 0.15 + 0.6 * grain
        inside[::9] = inside[:, ::9] = 0.8
    return np.where(region > 0, inside, alpha).astype(np.float32)


def masked(kind: str, seed: int) -> Alpha:
    """The subject's alpha as a perfect network's mask has it; of broken hair a poorer one's."""
    small = cv2.resize(drawn(kind, seed), NETWORK[::-1], interpolation=cv2.INTER_AREA)
    mask = resize_mask(np.asarray(small, np.float32), SIZE)
    return np.clip((mask - BROKEN) / (1 - BROKEN), 0, 1) if kind == "broken hair" else mask


def spoiled(alpha: Alpha, seed: int) -> tuple[Alpha, list[Spot], list[Spot]]:
    """The alpha with specks beside the subject and holes in it, and where they are."""
    random = np.random.default_rng(seed)
    radii = np.sqrt(np.geomspace(*SPOT_AREAS, SPOTS) * float(alpha.sum()) / np.pi)
    dirty = alpha.copy()
    found: tuple[list[Spot], list[Spot]] = [], []
    for spots, free in zip(found, (alpha < 0.01, alpha > 0.99), strict=True):
        room = cv2.distanceTransform(np.pad(free, 1).view(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
        for radius in radii:
            softness = random.uniform(*SOFTNESS)
            half = int(radius + 4 * softness) + 1
            apart = half + APART * max(alpha.shape)
            rows, columns = np.nonzero(room > apart)
            if not rows.size:
                continue
            place = random.integers(rows.size)
            row, column = int(rows[place]), int(columns[place])
            spot = slice(row - half, row + half + 1), slice(column - half, column + half + 1)
            level = _spot(radius, softness, half)
            change = (np.maximum, level) if spots is found[0] else (np.minimum, 1 - level)
            dirty[spot] = change[0](dirty[spot], change[1])
            spots.append(spot)
            cv2.circle(room, (column, row), round(2 * apart), 0, -1)
    return dirty, *found


def _spot(radius: float, softness: float, half: int) -> Alpha:
    """A round spot with a soft edge, a logistic function in the normal distribution's place."""
    down, along = np.mgrid[-half : half + 1, -half : half + 1]
    level = 1 / (1 + np.exp(-1.7 * (radius - np.hypot(down, along)) / softness))
    return np.where(level < 0.01, 0, level).astype(np.float32)


def errors(found: Alpha, truth: Alpha) -> dict[str, float]:
    """Mean absolute errors in levels of 255: everywhere, and where the truth is partial."""
    off = np.abs(found - truth) * 255
    edges = (truth > 0.02) & (truth < 0.98)
    return {"mae": float(off.mean()), "edge_mae": float(off[edges].mean())}


def case(
    alpha: Alpha, dirty: Alpha, specks: list[Spot], holes: list[Spot], way: Clean
) -> dict[str, float]:
    """One subject, clean and spoiled: errors before and after, and how many spots are gone."""
    cleaned = way.apply(dirty)
    most = 2 * clean.BACKGROUND_ALPHA
    row: dict[str, float] = {}
    for name, found in (("clean", way.apply(alpha)), ("before", dirty), ("after", cleaned)):
        row |= {f"{name}_{error}": value for error, value in errors(found, alpha).items()}
    return row | {
        "specks": len(specks),
        "specks_gone": sum(bool(cleaned[spot].max() <= most) for spot in specks),
        "holes": len(holes),
        "holes_gone": sum(bool(cleaned[spot].min() >= 1 - most) for spot in holes),
    }


def together(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means of the errors, sums of the spots."""
    return {
        name: (statistics.mean if name.endswith("mae") else sum)(row[name] for row in rows)
        for name in rows[0]
    }


def ways() -> Iterator[tuple[str, float, Clean]]:
    """What is compared: a name, the reach, and what is cleaned."""
    yield "default", clean.PIECE_REACH, Clean()
    yield "main", clean.PIECE_REACH, Clean(main=True)
    for size in SIZES:
        if size != Clean().smallest:
            yield f"smallest {size:g}", clean.PIECE_REACH, Clean(size)
    for reach in REACHES:
        if reach != clean.PIECE_REACH:
            yield f"reach {reach:g}", reach, Clean()


def measure() -> list[dict[str, Any]]:
    """Every way, by kind of subject."""
    found = [
        {"name": name, "reach": reach, **dataclasses.asdict(way), "kinds": {}}
        for name, reach, way in ways()
    ]
    for kind in KINDS:
        alphas = [masked(kind, seed) for seed in SEEDS]
        subjects = [(alpha, *spoiled(alpha, seed)) for seed, alpha in enumerate(alphas)]
        for row, (name, reach, way) in zip(found, ways(), strict=True):
            with patch.object(clean, "PIECE_REACH", reach):
                row["kinds"][kind] = together([case(*subject, way) for subject in subjects])
            print(kind, name, row["kinds"][kind], flush=True)
    return found


def markdown_table(stored: dict[str, Any]) -> str:
    """One row a kind of subject, from the content of a results file."""
    heads = (
        *("subject", "alpha that is clean: MAE added", "at its edge"),
        *("with specks and holes: MAE", "cleaned", "specks gone", "holes filled"),
    )
    rows = []
    for kind, found in stored["ways"][0]["kinds"].items():
        cells = [kind, f"{found['clean_mae']:.4f}", f"{found['clean_edge_mae']:.4f}"]
        cells += [f"{found['before_mae']:.3f}", f"{found['after_mae']:.4f}"]
        cells += [f"{found[f'{spot}_gone']} of {found[spot]}" for spot in ("specks", "holes")]
        rows.append(cells)
    machine, time = stored["environment"], stored["time"]["median_s"]
    lines = table_lines(heads, rows)
    lines += [
        "",
        "Errors in levels of 255, of drawn subjects whose alpha, averaged to "
        "512 x 512, was brought back to 1536 x 2048; specks and holes of .02% to .4% of the "
        f"subject's area. 12 megapixels take {format_seconds(time)}; {machine['processor']}, "
        f"{machine['cores']} cores.",
    ]
    return "\n".join(lines)


def main(file: str) -> None:
    """Measure everything and write the results file."""
    large = spoiled(make_composite("hair", 0, LARGE).alpha, 0)[0]
    results = {
        "environment": dataclasses.asdict(read_environment()),
        "threads": cv2.getNumThreads(),
        "size": SIZE,
        "network": NETWORK,
        "spot_areas": SPOT_AREAS,
        "ways": measure(),
        "time": {"size": LARGE, **took(lambda: Clean().apply(large))},
    }
    write_results(Path(file), results)
    print(markdown_table(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
