"""Whether the kernels' int8 products want a scale for the whole map or for each tile:
`python -m studies.deform_conv.kernel_scales FILE CHECKPOINT SIZE PHOTOS`.

The reference, in float64, runs on the photographs at SIZE with deformable convolutions as they are,
with their weights in int8, and with samples in uint8 as well, by either scale. What a scale does to
each convolution is the root of the mean square error by that of what it gives; what it does to the
mask is the mean error.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import write_results
from birefnet_export.checkpoint.read import read_checkpoint
from birefnet_export.network.birefnet import BiRefNet
from birefnet_export.precision.calibration import Images, images_of
from birefnet_export.reference import birefnet, decoder
from birefnet_export.reference.deform_conv import deform_conv, taps
from birefnet_export.verify.logits import mask_of_logits
from numpy.typing import NDArray

from studies.tables import table_lines

TILE = 48
"""Pixels that the kernels compute at once (`runtime/birefnet_kernels/src/path.h`)."""
LEVELS = 255
Array = NDArray[Any]
Record = dict[str, Any]


def samples_of(x: Array, *rest: Any) -> Array:
    """What a kernel's taps read, as they are: (pixels, taps * channels)."""
    return np.concatenate([tap.reshape(-1, x.shape[-1]) for tap in taps(x, *rest)], 1)


def rounded(values: Array, low: Any, high: Any) -> Array:
    """The nearest of 255 steps from low to high, which hold zero."""
    low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    step = np.maximum(high - low, 1e-30) / LEVELS
    zero = np.rint(-low / step)
    return np.asarray((np.clip(np.rint(values / step) + zero, 0, LEVELS) - zero) * step)


def by_map(x: Array, *rest: Any) -> Array:
    """Samples of a map that is stored in 255 levels, and rounded to them again."""
    ends = x.min(), x.max()
    return rounded(samples_of(rounded(x, *ends), *rest), *ends)


def by_tile(x: Array, *rest: Any) -> Array:
    """Samples in 255 levels between the least and the largest of each tile."""
    samples = samples_of(x, *rest)
    starts = np.arange(0, len(samples), TILE)
    tile = np.arange(len(samples)) // TILE
    low = np.minimum.reduceat(samples.min(1), starts)[tile, None]
    high = np.maximum.reduceat(samples.max(1), starts)[tile, None]
    return rounded(samples, low, high)


SCALES: dict[str, Callable[..., Array]] = {
    "weights alone": samples_of,
    "a scale for the map": by_map,
    "a scale for each tile": by_tile,
}


def in_int8(
    samples: Callable[..., Array], x: Array, weight: Array, offset: Array, modulation: Array
) -> Array:
    """`deform_conv` of one image with int8 weights, a scale for each output channel. As in the
    graph, the modulation's factor of 2 is in the weights, so that samples stay within the map's
    range."""
    matrix = 2 * np.moveaxis(weight, 1, -1).reshape(len(weight), -1).T
    scale = np.maximum(np.abs(matrix).max(0), 1e-30) / 127
    read = samples(x, weight.shape[2:], offset, modulation / 2)
    given: Array = read @ (np.rint(matrix / scale) * scale)
    return given.reshape(*x.shape[:3], -1)


def measured(net: BiRefNet, images: Sequence[Array]) -> Record:
    """Relative errors of each convolution, and mean errors of masks, image by image."""
    nodes: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in SCALES}
    masks: dict[str, list[float]] = {name: [] for name in SCALES}

    def watched(x: Array, weight: Array, *rest: Array) -> Array:
        exact = deform_conv(x, weight, *rest)
        for name, samples in SCALES.items():
            off = in_int8(samples, x, weight, *rest) - exact
            error = float(np.sqrt(np.square(off).mean() / np.square(exact).mean()))
            nodes[name]["{} x {}".format(*weight.shape[2:])].append(error)
        return exact

    for image in images:
        with mock.patch.object(decoder, "deform_conv", watched):
            exact = mask_of_logits(birefnet.logits(image, net))
        for name, samples in SCALES.items():
            with mock.patch.object(decoder, "deform_conv", partial(in_int8, samples)):
                mask = mask_of_logits(birefnet.logits(image, net))
            masks[name].append(float(np.abs(mask - exact).mean()))
        print(masks, file=sys.stderr, flush=True)
    return {"nodes": nodes, "masks": masks}


def markdown_table(stored: Record) -> str:
    """Means over convolutions of a kernel, and over masks, from the content of a results file."""
    kernels = list(next(iter(stored["nodes"].values())))
    rows = []
    for name, errors in stored["masks"].items():
        means = [f"{100 * np.mean(stored['nodes'][name][kernel]):.2f} %" for kernel in kernels]
        rows.append([name, *means, f"{np.mean(errors):.5f}"])
    heads = ["samples in int8", *(f"{kernel}, error" for kernel in kernels), "mask, MAE"]
    lines = table_lines(heads, rows)
    count = len(next(iter(stored["masks"].values())))
    lines += ["", f"nano at {stored['size']} on {count} photographs, all else in float64."]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Measure and write the results file."""
    output, checkpoint, size, photos = arguments
    images = Images(images_of(Path(photos)), (int(size), int(size)))
    found = measured(read_checkpoint(checkpoint).network(), images)
    stored = {"environment": asdict(read_environment()), "size": f"{size}x{size}", **found}
    write_results(Path(output), stored)
    print(markdown_table(stored))


if __name__ == "__main__":
    main(sys.argv[1:])
