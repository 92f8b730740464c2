"""8-bit masks of one graph from pixels to alpha, compared with the runtime's own steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from birefnet_models.base.text import format_size
from numpy.typing import NDArray

from ..errors import ParityError
from .logits import InputShape

Alphas = NDArray[np.uint8]
"""(batch, height, width), 0-255."""


@dataclass(frozen=True, slots=True)
class AlphaParity:
    """Differences of 8-bit masks, in levels of 255, over all cases."""

    max_levels: int
    mean_levels: float
    """Of the case where it is largest."""
    cases: tuple[InputShape, ...]
    """Batch, height and width of the images that were run."""
    runtime: str
    """What ran the graph, and its version."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class AlphaTolerance:
    """The largest differences that pass, in levels of 255."""

    max_levels: int = 2
    mean_levels: float = 0.1

    def problem(self, parity: AlphaParity) -> str | None:
        """What does not pass, in words; None if all does."""
        if parity.max_levels <= self.max_levels and parity.mean_levels <= self.mean_levels:
            return None
        return (
            f"masks differ from the runtime's by {parity.max_levels} levels of 255 at most and "
            f"{parity.mean_levels:.2g} on average, more than the {self.max_levels} and "
            f"{self.mean_levels} allowed"
        )

    def check(self, parity: AlphaParity) -> None:
        """Raises `ParityError` if a difference is larger."""
        if problem := self.problem(parity):
            raise ParityError(problem)


ALPHA_TOLERANCE = AlphaTolerance()


def compare_alphas(
    pairs: Sequence[tuple[Alphas, Alphas]], cases: Sequence[InputShape], runtime: str
) -> AlphaParity:
    """Compute the differences between a graph's alphas and the runtime's.

    Args:
        pairs: for each case the graph's alphas and the expected ones.
        cases: the shapes of the images.
        runtime: what ran the graph, and its version.

    Raises:
        ParityError: another shape, or nothing to compare.
    """
    largest, mean = 0, 0.0
    for (alphas, expected), case in zip(pairs, cases, strict=True):
        if alphas.shape != expected.shape or not expected.size:
            raise ParityError(
                f"at {format_size(case)} the graph gives {alphas.shape}, not {expected.shape}"
            )
        difference = np.abs(alphas.astype(np.int16) - expected)
        largest = max(largest, int(difference.max()))
        mean = max(mean, float(difference.mean()))
    if not pairs:
        raise ParityError("nothing was compared: there are no cases")
    return AlphaParity(largest, mean, tuple(cases), runtime)
