"""Algebra on the weights of convolutions: BatchNorm folded, kernels cut, stacked and composed.

Every operation is exact: weights are computed in float64 and rounded once, to float32, when they
enter the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Kernel(NamedTuple):
    """The weights of a stride-1 convolution."""

    weight: Tensor
    """float64 (out, in, kernel height, kernel width)."""
    bias: Tensor
    """float64 (out,)."""


def kernel_of(conv: nn.Conv2d) -> Kernel:
    """The weights of a convolution, with zeros for a missing bias."""
    weight = _double(conv.weight)
    bias = weight.new_zeros(len(weight)) if conv.bias is None else _double(conv.bias)
    return Kernel(weight, bias)


def with_norm(kernel: Kernel, norm: nn.Module) -> Kernel:
    """BatchNorm behind a convolution, folded into its weights; an Identity changes nothing.

    In inference BatchNorm is ``scale * x + shift``.
    """
    if isinstance(norm, nn.Identity):
        return kernel
    if not isinstance(norm, nn.BatchNorm2d):
        raise TypeError(f"expected a BatchNorm, found {type(norm).__name__}")
    if norm.running_var is None or norm.running_mean is None:
        raise TypeError("a BatchNorm without running statistics cannot be folded")
    scale = _double(norm.weight) / torch.sqrt(_double(norm.running_var) + norm.eps)
    shift = _double(norm.bias) - scale * _double(norm.running_mean)
    return Kernel(kernel.weight * scale[:, None, None, None], kernel.bias * scale + shift)


def pointwise_after(outer: Kernel, inner: Kernel) -> Kernel:
    """A 1 x 1 convolution behind another, as one.

    Exact at the borders too: a 1 x 1 convolution never reads its input's padding.
    """
    mix = outer.weight[:, :, 0, 0]
    weight = torch.einsum("om,mikl->oikl", mix, inner.weight)
    return Kernel(weight, mix @ inner.bias + outer.bias)


def stacked(*kernels: Kernel) -> Kernel:
    """Convolutions of one input as one that stacks their outputs."""
    return Kernel(torch.cat([k.weight for k in kernels]), torch.cat([k.bias for k in kernels]))


def split_inputs(kernel: Kernel, channels: Sequence[int]) -> list[Kernel]:
    """A convolution of concatenated maps as parts to be summed; the first one has the bias."""
    weights = torch.split(kernel.weight, list(channels), 1)
    silent = torch.zeros_like(kernel.bias)
    return [Kernel(w, kernel.bias if i == 0 else silent) for i, w in enumerate(weights)]


def kernel_in(sequence: nn.Sequential, index: int = 0) -> Kernel:
    """The convolution at `index` of a sequence, with the BatchNorm that follows it, if any."""
    conv, *after = list(sequence)[index : index + 2]
    if not isinstance(conv, nn.Conv2d):
        raise TypeError(f"expected a convolution at {index}, found {type(conv).__name__}")
    kernel = kernel_of(conv)
    return with_norm(kernel, after[0]) if after and isinstance(after[0], nn.BatchNorm2d) else kernel


def _double(tensor: Tensor) -> Tensor:
    return tensor.detach().double()
