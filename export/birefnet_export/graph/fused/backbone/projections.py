"""The linear layers around attention, with its scale and two of their biases folded."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class Projections(NamedTuple):
    """What attention multiplies by, each (in, out), and adds; float64."""

    q: Tensor
    q_bias: Tensor
    k: Tensor
    v: Tensor
    out: Tensor
    out_bias: Tensor


def folded(weight: Tensor, bias: Tensor, proj: nn.Linear, scale: float) -> Projections:
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
    q, k, v = weight.detach().double().T.chunk(3, dim=1)
    q_bias, _, v_bias = bias.detach().double().chunk(3)
    out = proj.weight.detach().double().T
    out_bias = proj.bias.detach().double() + v_bias @ out
    return Projections(q * scale, q_bias * scale, k, v, out, out_bias)
