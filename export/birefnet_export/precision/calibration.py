"""Runs of a graph over images: its logits, and the ranges of the values between."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import onnx
from birefnet_models.base.text import first_line
from birefnet_runtime.images.read import IMAGE_SUFFIXES, read_image
from birefnet_runtime.machine import release_memory
from birefnet_runtime.model.graph_io import to_tensor
from birefnet_runtime.session.open import open_session
from onnx import TensorProto, helper, numpy_helper

from ..errors import PrecisionError
from ..graph.signature import INPUT, MEAN, STD
from ..graph.weights import WeightsInGraph, WeightStore
from ..verify.export_check import RUN_ON
from ..verify.logits import Array
from .int8 import ActivationRange

MIN_IMAGES = 2
FEW_IMAGES = 12
"""Below which a warning says that more would do better."""
MAX_IMAGES = 32
"""Images of a folder that are used, spread evenly over it; more take longer and add little."""
AXES_ARE_INPUTS = 18
"""The opset from which ReduceMin and ReduceMax take their axes as an input."""

_IN_ORDER = replace(RUN_ON, order="priority")
"""Nodes run in the order of the graph, as `_watching` wants it."""


class Observations(NamedTuple):
    """Logits of a graph, image by image, and ranges of its values over all images."""

    logits: list[Array]
    ranges: dict[str, ActivationRange]


class Images(Sequence[Array]):
    """Images as the network takes them, float32 (1, 3, height, width), each read when it is used.

    A dozen of them at 1024 x 1024 would take as much memory as a small network.
    """

    def __init__(self, files: Sequence[Path], size: tuple[int, int]) -> None:
        self._files = files
        self._size = size

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, place: int) -> Array: ...

    @overload
    def __getitem__(self, place: slice) -> Images: ...

    def __getitem__(self, place: int | slice) -> Array | Images:
        if isinstance(place, slice):
            return Images(self._files[place], self._size)
        return to_tensor(read_image(self._files[place]), self._size, MEAN, STD)


def calibration_images(folder: Path | None, size: tuple[int, int]) -> Images:
    """The images of a folder at a size, (height, width); without a folder there are none.

    Raises:
        PrecisionError: the folder can't be read, or holds too few images in it.
        ImageError: a file in it can't be read.

    Warns:
        UserWarning: there are fewer than a dozen.
    """
    if folder is None:
        return Images((), size)
    files = images_of(folder)
    if len(files) < MIN_IMAGES:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise PrecisionError(
            f"{folder}: {len(files) or 'no'} image{'s' if len(files) != 1 else ''} in this folder "
            f"({kinds}); int8 needs {MIN_IMAGES} at least, some for its ranges and others to be "
            "judged on, and a dozen to be good"
        )
    places = np.linspace(0, len(files) - 1, min(len(files), MAX_IMAGES)).round().astype(int)
    images = Images([files[place] for place in places], size)
    for _ in images:  # what can't be read is said before any work
        pass
    if len(images) < FEW_IMAGES:
        warnings.warn(
            f"{folder}: int8 is calibrated on {len(images)} images, and cuts off what they don't "
            f"show; give {FEW_IMAGES} or more of those to come",
            stacklevel=2,
        )
    return images


def images_of(folder: Path) -> list[Path]:
    """The images in a folder, by name.

    Raises:
        PrecisionError: it can't be read.
    """
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES
            and not path.name.startswith(".")
            and path.is_file()
        )
    except OSError as error:
        reason = (error.strerror or first_line(error)).lower()
        if isinstance(error, FileNotFoundError):
            reason = "no such folder"
        raise PrecisionError(f"{folder}: {reason}; --calibrate wants a folder of images") from error


def observe(
    model: onnx.ModelProto,
    images: Sequence[Array],
    values: Sequence[str] = (),
    *,
    weights: WeightStore | None = None,
    by_channel: bool = True,
    in_order: bool = False,
) -> Observations:
    """Run a model on each image, watching the named values between input and output.

    Args:
        values: maps (1, channels, height, width).
        weights: what keeps the model's weights; by default they are in it.
        by_channel: a range for each channel of a map; else one for each value, of any shape.
        in_order: nodes run in the order of the graph, as they do where values are watched.
    """
    watched = _watching(model, values, by_channel)
    logits: list[Array] = []
    lows: list[Array] = []
    highs: list[Array] = []
    with (weights or WeightsInGraph()).file_of(watched) as file:
        session = open_session(
            file, cpu=_IN_ORDER if values or in_order else RUN_ON, accepted=False
        )
        for image in images:
            output, *ends = session.run(None, {INPUT.name: image})
            logits.append(np.array(output))  # a copy: the output itself would hold on to the arena
            low, high = ([np.ravel(end) for end in ends[first::2]] for first in (0, 1))
            lows = [np.minimum(*pair) for pair in zip(lows or low, low, strict=True)]
            highs = [np.maximum(*pair) for pair in zip(highs or high, high, strict=True)]
        del session
    release_memory()
    ranges = map(ActivationRange, lows, highs)
    return Observations(logits, dict(zip(values, ranges, strict=True)))


def _watching(model: onnx.ModelProto, values: Sequence[str], by_channel: bool) -> onnx.ModelProto:
    """The model with least and greatest element of values, by channel, as further outputs.

    Each value is looked at as soon as it is computed, by nodes right behind the one that gives it,
    and ONNX Runtime is asked for the order of the nodes. By its own order it looks at all values in
    the end, and holds them until then: 1.9 GB instead of .8 for Swin T at 1024 x 1024.
    """
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    if not values:
        return watched
    graph = watched.graph
    axes = numpy_helper.from_array(np.array([2, 3]), "watched:axes")
    opset = next(o.version for o in model.opset_import if o.domain == "")
    if by_channel and opset >= AXES_ARE_INPUTS:
        graph.initializer.append(axes)
    graph.ClearField("node")
    watches = {name: _ends(name, axes if by_channel else None, opset) for name in values}
    for info in graph.input:
        graph.node.extend(watches.get(info.name, ()))
    for node in model.graph.node:
        graph.node.append(node)
        for name in node.output:
            graph.node.extend(watches.get(name, ()))
    for end in (end for watch in watches.values() for end in watch):
        graph.output.append(
            helper.make_tensor_value_info(
                end.output[0], TensorProto.FLOAT, (1, None) if by_channel else ()
            )
        )
    return watched


def _ends(name: str, axes: onnx.TensorProto | None, opset: int) -> list[onnx.NodeProto]:
    """Nodes that find the least and the greatest element of each channel, (1, channels), or of all
    where there are no axes."""
    operands = [name]
    attributes: dict[str, Any] = {"keepdims": 0}
    if axes is not None and opset >= AXES_ARE_INPUTS:
        operands.append(axes.name)
    elif axes is not None:
        attributes["axes"] = numpy_helper.to_array(axes)
    return [
        helper.make_node(kind, operands, [f"{name}:{kind}"], **attributes)
        for kind in ("ReduceMin", "ReduceMax")
    ]
