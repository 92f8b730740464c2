"""Layer by layer: the tensors of a graph and of its checkpoint compared at named points.

The points are tensors that keep their names through every pass of the export: the eight maps that
the backbone gives at its two scales, the squeezed map, what each decoder block gives and what joins
it on its way to the next, the logits. All are (batch, channels, height, width) on both sides.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from birefnet_models.base.text import format_size
from birefnet_runtime.session.open import open_session
from numpy.typing import NDArray

from ..errors import ParityError
from ..graph.signature import INPUT, OUTPUT
from ..graph.weights import WeightsInGraph
from .logits import Array, InputShape, sample_image
from .reference import Reference

POINTS = (
    *(f"backbone.{scale}.stage{i}" for scale in ("full", "half") for i in range(4)),
    "squeeze",
    *(f"decoder.{part}{level}" for level in (4, 3, 2) for part in ("block", "lateral")),
    "decoder.block1",
    OUTPUT.name,
)
"""In the order in which they are computed; a network without a second scale or a squeeze block has
none of their points."""
SHAPE: InputShape = (2, 224, 160)
"""A batch of odd multiples of 32: windows and patch merging pad at both scales."""
BOUNDS = {"fp32": 3e-5, "fp16": 2e-2, "int8": 0.5}
"""By precision, the largest `LayerDifference.relative` that rounding explains.

At `SHAPE` the worst of any point of `nano`, of a tiny network and of Swin T, the last two with
generated weights, was 3e-6 in fp32, 2e-3 in fp16, 0.2 in int8 (calibrated on photographs).
"""


@dataclass(frozen=True, slots=True)
class LayerDifference:
    """The difference at one point."""

    point: str
    shape: tuple[int, ...]
    max_abs: float
    """Infinite where the graph gives NaN."""
    relative: float
    """The RMS, over all elements, of the difference, over that of the reference there.

    Not the largest difference: a single clipped value in int8 can be twice the RMS."""


@dataclass(frozen=True, slots=True)
class LayerDifferences:
    """The differences at all points, and the first that is too large."""

    layers: tuple[LayerDifference, ...]
    case: InputShape
    bound: float
    """The largest `relative` that passes."""

    @property
    def first(self) -> str | None:
        """The first point at which the difference is too large; None if there is none."""
        return next((x.point for x in self.layers if x.relative > self.bound), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values; what is infinite is None."""
        layers = [
            {key: None if value == inf else value for key, value in asdict(layer).items()}
            for layer in self.layers
        ]
        return {**asdict(self), "layers": layers, "first": self.first}

    def lines(self) -> list[str]:
        """A table, and the verdict."""
        rows = [("point", "shape", "max abs", "relative")]
        rows += [
            (x.point, format_size(x.shape), f"{x.max_abs:.1e}", f"{x.relative:.1e}")
            for x in self.layers
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        verdict = f"first that differs: {self.first}" if self.first else "none differs"
        return [*table, f"{verdict} ({self.bound:.0e} allowed)"]


def compare_layers(file: Path, reference: Reference, precision: str) -> LayerDifferences:
    """Compare an export with a reference point by point; the reference computes in float64.

    Args:
        file: written by `birefnet export`.
        reference: of the same network.
        precision: one of `BOUNDS`.

    Raises:
        ParityError: the file or the reference doesn't name the points, or shapes differ.
    """
    image = sample_image(SHAPE)
    expected = reference.maps(image.astype(np.float64))
    points = [point for point in POINTS if point in expected]
    actual = _in_graph(file, image, points)
    layers = tuple(_difference(point, actual[point], expected[point]) for point in points)
    return LayerDifferences(layers, SHAPE, BOUNDS[precision])


def _difference(point: str, actual: Array, expected: NDArray[np.floating[Any]]) -> LayerDifference:
    if actual.shape != expected.shape:
        raise ParityError(f"at {point} the graph gives {actual.shape}, not {expected.shape}")
    difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    if not np.isfinite(difference).all():
        return LayerDifference(point, actual.shape, inf, inf)
    relative = _rms(difference) / max(_rms(expected), 1e-30)
    return LayerDifference(point, actual.shape, float(difference.max()), relative)


def _rms(values: NDArray[np.floating[Any]]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _in_graph(file: Path, image: Array, points: list[str]) -> dict[str, Array]:
    """What the graph computes at each point."""
    model = onnx.load(file)
    known = {name for node in model.graph.node for name in node.output}
    if missing := [point for point in points if point not in known]:
        raise ParityError(
            f"{file}: no tensor in it is called {missing[0]}: it is another exporter's, or older "
            "than these names; export the checkpoint again with birefnet export"
        )
    for point in points[:-1]:  # the last is an output already
        model.graph.output.append(onnx.ValueInfoProto(name=point))
    with WeightsInGraph().file_of(model) as watched:
        results = open_session(watched, accepted=False).run(points, {INPUT.name: image})
    return dict(zip(points, results, strict=True))
