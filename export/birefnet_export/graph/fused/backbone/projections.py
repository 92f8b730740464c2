"""The linear layers around attention, with its scale and two of their biases folded."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import numpy as np

from ....network import nn
from ...kernels import Array, float64

T = TypeVar("T")


class Projections(NamedTuple, Generic[T]):
    """What attention multiplies by, each (in, out), and adds: arrays in float64, or constants."""

    q: T
    q_bias: T
    k: T
    v: T
    out: T
    out_bias: T


def folded(weight: nn.Array, bias: nn.Array, proj: nn.Linear, scale: float) -> Projections[Array]:
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
