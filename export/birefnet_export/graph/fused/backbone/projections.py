"""The linear layers around attention, with its scale and two of their biases folded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ....network import nn
from ...kernels import Array, float64


class Projections(NamedTuple):
    """What attention multiplies by, each (in, out), and adds; float64."""

    q: Array
    q_bias: Array
    k: Array
    v: Array
    out: Array
    out_bias: Array


def folded(weight: nn.Array, bias: nn.Array, proj: nn.Linear, scale: float) -> Projections:
    """Fold what needs no operator of its own.

    - The scale multiplies q.
    - k's bias adds the same to all scores of a query, which Softmax does not see.
    - The weights of a query sum to one, so v's bias passes through them into `proj`'s.

    Args:
        weight: of q, k and v, one above the other: (3 * dim, dim).
        bias: the same: (3 * dim,).
        proj: what follows attention.
        scale: of the scores.
    """
    q, k, v = np.split(float64(weight).T, 3, axis=1)
    q_bias, _, v_bias = np.split(float64(bias), 3)
    out = float64(proj.weight).T
    out_bias = proj.bias + v_bias @ out
    return Projections(q * scale, q_bias * scale, k, v, out, out_bias)
