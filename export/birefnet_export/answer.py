"""The known answer that a file carries: what the checkpoint's definition computes, in float64.

From picture to alpha every step is done here anew: the resize to the network's size, the
normalization, the network by its reference, the sigmoid and the way back. Of the runtime this has
the pictures that are asked for and the entry's format alone, so that a fault in a step of the
runtime's is none of these.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from birefnet_models.base.text import format_bytes, format_size
from birefnet_runtime.model.known_answer import (
    KEY,
    PICTURES,
    SIZE,
    STEP,
    Answer,
    KnownAnswer,
    Tolerance,
    draw,
    encoded,
)
from birefnet_runtime.model.locate import ModelFile
from birefnet_runtime.session.judge import Asked
from birefnet_runtime.session.open import open_session
from numpy.typing import NDArray

from .graph.activation_memory import activation_bytes_per_pixel
from .graph.signature import INPUT, MEAN, STD
from .network.birefnet import BiRefNet
from .reference.birefnet import RememberedLogits
from .room import available_memory_bytes
from .verify.export_check import RUN_ON

Array = NDArray[np.float64]

TOLERANCES: dict[str, dict[str, Tolerance]] = {
    "fp32": {"alpha": Tolerance(2e-3, 2e-4), "logits": Tolerance(5e-3, 2e-4)},
    "fp16": {"alpha": Tolerance(0.05, 0.005), "logits": Tolerance(0.2, 0.02)},
    "int8": {"alpha": Tolerance(0.1, 0.005)},
}
"""How far a file may be off by what it computes in. Of logits it is |difference| / (1 + |logit|).

fp32 is ten times what `rows`, `native` and `gridsample` were apart from the reference. fp16 is what
the export's own check allows. int8's comes on top of twice what the file itself is off at its
export: its sums round in another way on each kind of processor (docs/howto/arm.md).
"""
REFERENCE = 10
"""Times the memory of the graph's tensors in float32: it was 9.2, 8.6 and 7.2 times as much of nano
and lite at 512x512 and of a Swin-L at 256x256."""
_ONE = 2.0**22
"""Pillow resizes 8-bit pictures with weights in whole parts of this, by `PRECISION_BITS` there."""
_LEVEL = 1 / 255
"""By so much 8-bit alpha may be off beyond that, and by half of it on average."""


def answer_facts(
    reference: RememberedLogits, precision: str, file: Path | None = None
) -> dict[str, str]:
    """The metadata_props entry of a file from tensors to logits.

    Args:
        reference: gives the checkpoint's logits.
        precision: what the file computes in.
        file: one of int8, whose own error is counted in; None where it isn't to be run.
    """
    known = known_answer(reference, precision, PICTURES, SIZE)
    return {KEY: encoded(_with_own_error(known, precision, file))}


def end_to_end_answer_facts(
    reference: RememberedLogits,
    precision: str,
    size: tuple[int, int],
    network: Path,
    file: Path | None = None,
) -> dict[str, str]:
    """The metadata_props entry of the file from pixels to alpha, whose network runs at one size.

    Where the reference takes more memory than there is, or the file isn't to be run, the logits are
    those of the graph inside, in ONNX Runtime; all other steps are in float64 in any case.

    Args:
        reference: gives the checkpoint's logits.
        precision: what the file computes in.
        size: (height, width) of the network.
        network: the graph inside, as a file of its own.
        file: the file itself; None where it isn't to be run.

    Warns:
        UserWarning: the logits are those of the graph for want of memory, with the numbers.
    """
    need, there = reference_bytes(reference.net, size), available_memory_bytes()
    if file is not None and need <= there:
        known = known_answer(reference, precision, PICTURES[:1], size)
    else:
        if file is not None:
            warnings.warn(
                f"the known answer of the end-to-end file takes its logits from the graph inside: "
                f"the reference takes {format_bytes(need)} at {format_size(size)}, and there are "
                f"{format_bytes(there)}",
                stacklevel=2,
            )
        session, file = open_session(network, cpu=RUN_ON, accepted=False), None

        def run(tensor: Array) -> Array:
            found = session.run(None, {INPUT.name: tensor.astype(np.float32)})[0]
            return np.asarray(found, np.float64)

        known = known_answer(run, precision, PICTURES[:1], size)
    largest, mean = known.tolerance["alpha"]
    alpha = Tolerance(largest + _LEVEL, mean + _LEVEL / 2)
    answer = Answer(known.answer.alphas, None)
    known = replace(known, answer=answer, tolerance={"alpha": alpha})
    return {KEY: encoded(_with_own_error(known, precision, file))}


def _with_own_error(known: KnownAnswer, precision: str, file: Path | None) -> KnownAnswer:
    """Allow an int8 file twice what it is off itself, beyond what is allowed anyway."""
    if file is None or precision != "int8":
        return known
    model = ModelFile(file)
    found = Asked.of(open_session(model, cpu=RUN_ON, accepted=False), model)
    off = known.off(found.answer(known.size, known.pictures))["alpha"]
    largest, mean = known.tolerance["alpha"]
    alpha = Tolerance(min(1.0, largest + 2 * off.largest), mean + 2 * off.mean)
    return replace(known, tolerance={"alpha": alpha})


def reference_bytes(net: BiRefNet, size: tuple[int, int]) -> float:
    """Memory that the reference takes at most, for one picture."""
    return REFERENCE * activation_bytes_per_pixel(net.arch, "rows") * size[0] * size[1]


def known_answer(
    network: Callable[[Array], Array],
    precision: str,
    pictures: tuple[tuple[int, int], ...],
    size: tuple[int, int],
) -> KnownAnswer:
    """What a network answers.

    Args:
        network: float64 (batch, 3, height, width), normalized RGB, to logits (batch, 1, height,
            width).
        precision: what the file computes in.
        pictures: (height, width) of each.
        size: (height, width) at which the network runs.
    """
    tensor = np.stack([answer_tensor(draw(*each), size) for each in pictures])
    answers = network(tensor)[:, 0]
    alphas = tuple(
        answer_alpha(each, picture) for each, picture in zip(answers, pictures, strict=True)
    )
    answer = Answer(alphas, answers).kept(STEP)
    return KnownAnswer(pictures, size, STEP, answer, TOLERANCES[precision])


def answer_tensor(picture: NDArray[np.uint8], size: tuple[int, int]) -> Array:
    """Stretch a picture as Pillow's antialiased bilinear filter does, to 8 bits after the columns
    and after the rows, and normalize it.

    Args:
        picture: uint8 (H, W, 3) RGB.
        size: (height, width) of the result.

    Returns:
        float64 (3, height, width).
    """
    x = np.asarray(picture, np.float64)
    for axis in (1, 0):
        weights = np.floor(filter_weights(x.shape[axis], size[axis], triangle, 1) * _ONE + 0.5)
        sums = np.moveaxis(np.tensordot(weights, x, (1, axis)), 0, axis)
        x = np.floor((sums + _ONE / 2) / _ONE).clip(0, 255)
    normalized = (x / 255 - np.asarray(MEAN)) / np.asarray(STD)
    return np.asarray(normalized.transpose(2, 0, 1), np.float64)


def answer_alpha(logits: Array, size: tuple[int, int]) -> Array:
    """The sigmoid, brought to a picture's size by Pillow's bicubic filter, whose overshoot is cut
    off after the columns and after the rows.

    Args:
        logits: (height, width).
        size: (H, W) of the picture.

    Returns:
        float64 (H, W) in [0, 1].
    """
    with np.errstate(over="ignore"):
        x = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    for axis in (1, 0):
        weights = filter_weights(x.shape[axis], size[axis], keys, 2)
        x = np.moveaxis(np.tensordot(weights, x, (1, axis)), 0, axis).clip(0, 1)
    return x


def filter_weights(
    source: int, target: int, kernel: Callable[[Array], Array], support: float
) -> Array:
    """The matrix (target, source) that resizes a line, as Pillow's `Resample.c` has it: the kernel
    is stretched where the line shrinks, and what would reach beyond its ends goes to the rest."""
    scale = max(source / target, 1)
    centers = (np.arange(target) + 0.5) * source / target
    first = np.maximum(np.trunc(centers - support * scale + 0.5), 0)
    last = np.minimum(np.trunc(centers + support * scale + 0.5), source)
    at = np.arange(source)
    x = np.abs((at + 0.5 - centers[:, None]) / scale)
    weights = np.where((at >= first[:, None]) & (at < last[:, None]), kernel(x), 0)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float64)


def triangle(x: Array) -> Array:
    """The bilinear filter, of a distance."""
    return np.maximum(1 - x, 0)


def keys(x: Array) -> Array:
    """The bicubic filter of Keys with a = -1/2 (IEEE Trans. ASSP 29, 1981), of a distance."""
    near, far = (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))
