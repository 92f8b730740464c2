"""Runs of a graph over images: its logits, and the ranges of the values between."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from birefnet_models.text import first_line
from birefnet_runtime.images.read import SUFFIXES, read_image
from birefnet_runtime.model.preprocess import to_tensor
from birefnet_runtime.model.signature import Session
from birefnet_runtime.session.open import open_session
from onnx import TensorProto, helper

from ..errors import PrecisionError
from ..graph.signature import INPUT, MEAN, STD
from ..parity.logits import Array
from .int8 import ActivationRange

MIN_IMAGES = 2
MAX_IMAGES = 32
"""Images of a folder that are used, spread evenly over it; more take longer and add little."""


class Observations(NamedTuple):
    """Logits of a graph, image by image, and ranges of its values over all images."""

    logits: list[Array]
    ranges: dict[str, ActivationRange]


def calibration_images(folder: Path | None, size: tuple[int, int]) -> list[Array]:
    """Read the images of a folder as the network takes them: float32 (1, 3, height, width) each.

    Without a folder there are none.

    Raises:
        PrecisionError: the folder can't be read, or holds too few images in it.
        ImageError: a file in it can't be read.
    """
    if folder is None:
        return []
    try:
        files = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
        )
    except OSError as error:
        reason = (error.strerror or first_line(error)).lower()
        if isinstance(error, FileNotFoundError):
            reason = "no such folder"
        raise PrecisionError(f"{folder}: {reason}; --calibrate wants a folder of images") from error
    if len(files) < MIN_IMAGES:
        kinds = ", ".join(sorted(SUFFIXES))
        raise PrecisionError(
            f"{folder}: {len(files) or 'no'} image{'s' if len(files) != 1 else ''} in this folder "
            f"({kinds}); int8 needs {MIN_IMAGES} at least, some for its ranges and others to be "
            "judged on, and a dozen to be good"
        )
    places = np.linspace(0, len(files) - 1, min(len(files), MAX_IMAGES)).round().astype(int)
    return [to_tensor(read_image(files[place]), size, MEAN, STD) for place in places]


def observe(
    model: onnx.ModelProto, images: Sequence[Array], values: Sequence[str] = ()
) -> Observations:
    """Run a model on each image, watching the named values between input and output."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    ends = ("ReduceMin", "ReduceMax")
    for name in values:
        for end in ends:
            watched.graph.node.append(helper.make_node(end, [name], [f"{name}:{end}"], keepdims=0))
            watched.graph.output.append(
                helper.make_tensor_value_info(f"{name}:{end}", TensorProto.FLOAT, [])
            )
    logits: list[Array] = []
    limits: list[Array] = []
    with opened(watched) as session:
        for image in images:
            output, *extremes = session.run(None, {INPUT.name: image})
            logits.append(np.asarray(output))
            limits.append(np.asarray(extremes, np.float32).reshape(-1, 2))
    lows, highs = np.min(limits, 0)[:, 0], np.max(limits, 0)[:, 1]
    ranges = zip(map(float, lows), map(float, highs), strict=True)
    return Observations(
        logits, {v: ActivationRange(*r) for v, r in zip(values, ranges, strict=True)}
    )


@contextmanager
def opened(model: onnx.ModelProto) -> Iterator[Session]:
    """A model that lies in memory, opened as the runtime opens files."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.onnx")
        onnx.save(model, os.fspath(file))
        yield open_session(file)
