"""Modulated deformable convolution (DCNv2, arXiv 1811.11168)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .layers import Array, padded


def deform_conv(x: Array, weight: Array, offset: Array, modulation: Array) -> Array:
    """Convolve a map with taps that are displaced and modulated at each position.

    Args:
        x: (batch, height, width, in).
        weight: (out, in, rows, columns), with odd rows and columns.
        offset: (batch, height, width, 2 * rows * columns), in pixels; for each tap, row by row,
            first y then x.
        modulation: (batch, height, width, rows * columns), a factor for each tap.

    Returns:
        (batch, height, width, out).
    """
    out, channels, rows, columns = weight.shape
    batch, height, width, _ = x.shape
    result = np.zeros((batch * height * width, out))
    reads = taps(x, (rows, columns), offset, modulation)
    for (i, j), seen in zip(np.ndindex(rows, columns), reads, strict=True):
        result += seen.reshape(-1, channels) @ weight[:, :, i, j].T
    return result.reshape(batch, height, width, out)


def taps(x: Array, kernel: tuple[int, int], offset: Array, modulation: Array) -> Iterator[Array]:
    """What each tap of a kernel (rows, columns) reads, modulated: (batch, height, width, in)."""
    rows, columns = kernel
    _, height, width, _ = x.shape
    ys, xs = np.mgrid[:height, :width]
    for tap, (i, j) in enumerate(np.ndindex(rows, columns)):
        y = ys + (i - rows // 2) + offset[..., 2 * tap]
        x_ = xs + (j - columns // 2) + offset[..., 2 * tap + 1]
        yield sampled(x, y, x_) * modulation[..., tap, None]


def sampled(x: Array, ys: Array, xs: Array) -> Array:
    """Read a map between its pixels, bilinearly, with zeros outside.

    Args:
        x: (batch, height, width, channels).
        ys, xs: (batch, rows, columns), positions in pixels.

    Returns:
        (batch, rows, columns, channels).
    """
    batch, height, width, _ = x.shape
    x = padded(x, 1, 1)  # the frame of zeros is what all positions outside read
    image = np.arange(batch)[:, None, None]
    top, left = np.floor(ys), np.floor(xs)
    result = np.zeros((*ys.shape, x.shape[-1]))
    for y in (top, top + 1):
        row = np.clip(y + 1, 0, height + 1).astype(int)
        for x_ in (left, left + 1):
            column = np.clip(x_ + 1, 0, width + 1).astype(int)
            share = (1 - abs(ys - y)) * (1 - abs(xs - x_))
            result += x[image, row, column] * share[..., None]
    return result
