"""Algebra on the weights of convolutions: BatchNorm folded, kernels cut, stacked and composed.

Every operation is exact: weights are computed in float64 and rounded once, to float32, when they
enter the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..network import nn

Array = NDArray[np.float64]


class Kernel(NamedTuple):
    """The weights of a stride-1 convolution."""

    weight: Array
    """float64 (out, in, kernel height, kernel width)."""
    bias: Array
    """float64 (out,)."""


def kernel_of(conv: nn.Conv2d) -> Kernel:
    """The weights of a convolution, with zeros for a missing bias."""
    weight = float64(conv.weight)
    bias = float64(conv.bias) if conv.has_bias else np.zeros(len(weight))
    return Kernel(weight, bias)


def with_norm(kernel: Kernel, norm: nn.Layer) -> Kernel:
    """BatchNorm behind a convolution, folded into its weights; an Identity changes nothing.

    In inference BatchNorm is ``scale * x + shift``.
    """
    if isinstance(norm, nn.Identity):
        return kernel
    if not isinstance(norm, nn.BatchNorm2d):
        raise TypeError(f"expected a BatchNorm, found {type(norm).__name__}")
    scale = float64(norm.weight) / np.sqrt(float64(norm.running_var) + norm.eps)
    shift = float64(norm.bias) - scale * norm.running_mean
    return Kernel(kernel.weight * scale[:, None, None, None], kernel.bias * scale + shift)


def pointwise_after(outer: Kernel, inner: Kernel) -> Kernel:
    """A 1 x 1 convolution behind another, as one.

    Exact at the borders too: a 1 x 1 convolution never reads its input's padding.
    """
    mix = outer.weight[:, :, 0, 0]
    weight = np.tensordot(mix, inner.weight, 1)  # (out, mid) and (mid, in, height, width)
    return Kernel(np.asarray(weight, np.float64), mix @ inner.bias + outer.bias)


def stacked(*kernels: Kernel) -> Kernel:
    """Convolutions of one input as one that stacks their outputs."""
    weights, biases = zip(*kernels, strict=True)
    return Kernel(np.concatenate(weights), np.concatenate(biases))


def split_inputs(kernel: Kernel, channels: Sequence[int]) -> list[Kernel]:
    """A convolution of concatenated maps as parts to be summed; the first one has the bias."""
    weights = np.split(kernel.weight, np.cumsum(channels)[:-1], 1)
    silent = np.zeros_like(kernel.bias)
    return [Kernel(w, kernel.bias if i == 0 else silent) for i, w in enumerate(weights)]


def kernel_in(sequence: Iterable[nn.Layer], index: int = 0) -> Kernel:
    """The convolution at `index` of a sequence, with the BatchNorm that follows it, if any."""
    conv, *after = list(sequence)[index : index + 2]
    if not isinstance(conv, nn.Conv2d):
        raise TypeError(f"expected a convolution at {index}, found {type(conv).__name__}")
    kernel = kernel_of(conv)
    return with_norm(kernel, after[0]) if after and isinstance(after[0], nn.BatchNorm2d) else kernel


def float64(values: nn.Array) -> Array:
    """The same values, exactly."""
    return values.astype(np.float64)
