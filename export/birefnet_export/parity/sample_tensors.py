"""Tensors on which graphs are compared with PyTorch, the same for everybody who compares."""

from __future__ import annotations

import numpy as np

from .logits import Array, Case

CASES: tuple[Case, ...] = ((1, 32, 32), (1, 96, 160), (2, 224, 160), (1, 256, 256), (1, 192, 352))
"""The smallest size, odd and even multiples of 32, both orientations, a batch."""


def sample_image(case: Case) -> Array:
    """A normalized picture of sorts: smooth shapes under noise, drawn from the case's own seed.

    Returns:
        float32 (batch, 3, height, width).
    """
    batch, height, width = case
    rng = np.random.default_rng(case)
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    center = rng.uniform(-0.5, 0.5, (2, batch, 3, 1, 1))
    blob = np.exp(-4 * ((y - center[0]) ** 2 + (x - center[1]) ** 2))
    noise = rng.standard_normal((batch, 3, height, width))
    return np.asarray(4 * blob - 1.5 + 0.1 * noise, np.float32)
