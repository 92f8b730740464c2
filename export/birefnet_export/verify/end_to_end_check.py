"""Is the pipeline inside the graph the runtime's? The same images through both, to 8-bit masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from birefnet_runtime.images.picture import Picture, quantize
from birefnet_runtime.model.graph_io import to_alpha, to_tensor
from birefnet_runtime.session.open import open_session

from ..graph.signature import IMAGE, INPUT, MEAN, STD
from .alphas import ALPHA_TOLERANCE, AlphaParity, Alphas, compare_alphas
from .export_check import RUN_ON
from .logits import InputShape, sample_pixels

IMAGE_SHAPES: tuple[InputShape, ...] = ((1, 427, 640), (2, 75, 31), (1, 1, 211))
"""A photograph's aspect ratio, a batch of small upright ones, and a single line."""


def check_end_to_end(
    file: Path,
    network: Path,
    size: tuple[int, int],
    shapes: Sequence[InputShape] = IMAGE_SHAPES,
) -> AlphaParity:
    """Run images through a graph from pixels to alpha, and through the runtime's own steps.

    Args:
        file: that graph.
        network: the graph inside it, from normalized tensors to logits.
        size: (height, width) at which it runs.
        shapes: of the sample images.

    Raises:
        ParityError: a difference is beyond `ALPHA_TOLERANCE`, or there is nothing to compare.
    """
    sample = [sample_pixels(shape) for shape in shapes]
    expected = _by_the_runtime(network, size, sample)
    session = open_session(file, cpu=RUN_ON, accepted=False)
    given = [np.asarray(session.run(None, {IMAGE.name: images})[0]) for images in sample]
    pairs = list(zip(given, expected, strict=True))
    parity = compare_alphas(pairs, shapes, f"onnxruntime {onnxruntime.__version__}")
    ALPHA_TOLERANCE.check(parity)
    return parity


def _by_the_runtime(network: Path, size: tuple[int, int], sample: Sequence[Alphas]) -> list[Alphas]:
    """Alphas of images, uint8 (batch, height, width, 3) each, with the runtime's own steps."""
    session = open_session(network, cpu=RUN_ON, accepted=False)
    found = []
    for images in sample:
        tensor = np.concatenate([to_tensor(Picture(each), size, MEAN, STD) for each in images])
        (logits,) = session.run(None, {INPUT.name: tensor})
        alphas = [quantize(to_alpha(each[0], images.shape[1:3]), 8) for each in logits]
        found.append(np.stack(alphas).astype(np.uint8))
    return found
