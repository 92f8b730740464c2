"""Layers in inference: float64 arrays, channels last."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..network import nn
from .erf import erf

Array = NDArray[np.float64]
Size = tuple[int, int]
"""(height, width)."""


def values(tensor: nn.Array) -> Array:
    """A layer's tensor as it was read, raised to float64."""
    return np.asarray(tensor, np.float64)


def linear(x: Array, layer: nn.Linear) -> Array:
    """x @ weight.T + bias over the last axis."""
    y = x.reshape(-1, layer.in_features) @ values(layer.weight).T
    if layer.has_bias:
        y += values(layer.bias)
    return y.reshape(*x.shape[:-1], layer.out_features)


def conv(x: Array, layer: nn.Conv2d) -> Array:
    """A convolution: the sum over the kernel's taps of one matrix product each.

    A side that is not a multiple of the stride loses its last rows.
    """
    (rows, columns), (stride, _), (dilation, _) = layer.kernel_size, layer.stride, layer.dilation
    x = padded(x, *layer.padding)
    batch, height, width, channels = x.shape
    height = (height - dilation * (rows - 1) - 1) // stride + 1
    width = (width - dilation * (columns - 1) - 1) // stride + 1
    weight = values(layer.weight).transpose(2, 3, 1, 0)  # (rows, columns, in, out)
    y: Array = np.zeros((batch * height * width, layer.out_channels))
    for i, j in np.ndindex(rows, columns):
        seen = x[:, dilation * i :: stride, dilation * j :: stride][:, :height, :width]
        y += seen.reshape(-1, channels) @ weight[i, j]
    if layer.has_bias:
        y += values(layer.bias)
    return y.reshape(batch, height, width, layer.out_channels)


def depthwise_conv(x: Array, layer: nn.Conv2d) -> Array:
    """A convolution of each channel by itself, with stride 1, that keeps the map's size."""
    _, height, width, _ = x.shape
    weight = values(layer.weight)[:, 0].transpose(1, 2, 0)  # (rows, columns, channels)
    y: Array = np.zeros(x.shape)
    x = padded(x, *layer.padding)
    for i, j in np.ndindex(layer.kernel_size):
        y += x[:, i : i + height, j : j + width] * weight[i, j]
    if layer.has_bias:
        y += values(layer.bias)
    return y


def padded(x: Array, rows: int, columns: int) -> Array:
    """Zeros on all four sides of a map."""
    return np.pad(x, ((0, 0), (rows, rows), (columns, columns), (0, 0))) if rows or columns else x


def batch_norm(x: Array, layer: nn.BatchNorm2d | nn.Identity) -> Array:
    """By the running mean and variance; nothing where the network was trained without."""
    if isinstance(layer, nn.Identity):
        return x
    x = (x - values(layer.running_mean)) / np.sqrt(values(layer.running_var) + layer.eps)
    return x * values(layer.weight) + values(layer.bias)


def layer_norm(x: Array, layer: nn.LayerNorm) -> Array:
    """By the mean and variance of each position's channels."""
    x = x - x.mean(-1, keepdims=True)
    x /= np.sqrt(np.square(x).mean(-1, keepdims=True) + layer.eps)
    x *= values(layer.weight)
    x += values(layer.bias)
    return x


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def sigmoid(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * x))


def silu(x: Array) -> Array:
    return x * sigmoid(x)


def gelu(x: Array) -> Array:
    """x times the probability that a standard normal variable is below it."""
    return x * (0.5 * (1 + erf(x / np.sqrt(2))))


def softmax(x: Array) -> Array:
    """Over the last axis."""
    x = np.exp(x - x.max(-1, keepdims=True))
    x /= x.sum(-1, keepdims=True)
    return x


def by_head(x: Array, heads: int) -> Array:
    """(batch, ..., width) to (batch, heads, tokens, width / heads)."""
    return x.reshape(len(x), -1, heads, x.shape[-1] // heads).swapaxes(1, 2)


def attention(q: Array, k: Array, v: Array, bias: Array | None = None) -> Array:
    """Softmax(q k^T / √width + bias) v.

    Args:
        q, k, v: (batch, heads, tokens, width of a head).
        bias: to add to the scores, of a shape that broadcasts to (batch, heads, tokens, tokens).

    Returns:
        The heads of a token side by side: (batch, tokens, heads * width).
    """
    scores = (q / np.sqrt(q.shape[-1])) @ k.swapaxes(-1, -2)
    if bias is not None:
        scores += bias
    joined = (softmax(scores) @ v).swapaxes(1, 2)
    return joined.reshape(*joined.shape[:2], -1)


def resize(x: Array, size: Size) -> Array:
    """Bilinear with aligned corners, as every resize in BiRefNet."""
    for axis, target in enumerate(size, 1):
        source = x.shape[axis]
        if source == target:
            continue
        at = np.arange(target) * ((source - 1) / max(target - 1, 1))
        first = np.minimum(at.astype(int), source - 1)
        second = np.minimum(first + 1, source - 1)
        share = np.expand_dims(at - first, tuple(range(1, x.ndim - axis)))
        x = x.take(first, axis) * (1 - share) + x.take(second, axis) * share
    return x


def resize_as(x: Array, other: Array) -> Array:
    """`resize` to the height and width of another map."""
    return resize(x, (other.shape[1], other.shape[2]))
