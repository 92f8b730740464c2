"""The error function of an array: NumPy has none."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEPS = 256
"""Of the table, from one whole number to the next."""
LAST = 6
"""Beyond it erf is 1 in float64: erfc(6) is 2e-17."""
PIECE = 1 << 13
"""Values at a time, whose intermediate results stay in a processor's cache."""

_NODES = np.arange(-LAST * STEPS, LAST * STEPS + 1) / STEPS
_VALUES = np.array([math.erf(x) for x in _NODES])
_SLOPES = 2 / math.sqrt(math.pi) * np.exp(-np.square(_NODES))


def erf(x: Array) -> Array:
    """erf(x) of each value, to 4e-15: by Taylor's series around the nearest node of a table."""
    flat = x.reshape(-1)
    result = np.empty_like(flat)
    for start in range(0, flat.size, PIECE):
        piece = slice(start, start + PIECE)
        result[piece] = _around_nodes(flat[piece])
    return result.reshape(x.shape)


def _around_nodes(x: Array) -> Array:
    """Taylor's series to the fourth power; the fifth is below 3e-15 at half a step.

    At a node a the first derivative of erf is the slope 2 / √π exp(-a²). Those after it are the
    slope times -2 a, 4 a² - 2 and 12 a - 8 a³ (Hermite's polynomials).
    """
    x = np.clip(x, -LAST, LAST)
    a = np.rint(x * STEPS)
    node = a.astype(np.intp) + LAST * STEPS
    a /= STEPS
    d, square = x - a, a * a
    series = d * (1 - d * (a - d * ((2 * square - 1) / 3 + d * (3 - 2 * square) * a / 6)))
    return np.asarray(_VALUES[node] + _SLOPES[node] * series)
