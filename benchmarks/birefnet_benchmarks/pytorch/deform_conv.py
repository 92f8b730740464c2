"""Modulated deformable convolution (DCNv2, arXiv 1811.11168) in plain, differentiable PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def deform_conv2d(
    x: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor,
    bias: Tensor | None = None,
    padding: int = 0,
) -> Tensor:
    """Convolve `x` with taps displaced by `offset` and scaled by `mask`; stride 1, dilation 1.

    The semantics are those of `torchvision.ops.deform_conv2d`: a tap that falls between pixels is
    read bilinearly, pixels outside the map count as zero.

    Args:
        x: (batch, in, height, width).
        weight: (out, in, kernel_h, kernel_w).
        offset: (batch, 2 * kernel_h * kernel_w, out_h, out_w), in pixels; for each tap, row by
            row, first y then x.
        mask: (batch, kernel_h * kernel_w, out_h, out_w), the modulation of each tap.
        bias: (out,) or None.
        padding: zero rows and columns around `x`.

    Returns:
        (batch, out, out_h, out_w), in the dtype of `x`.
    """
    batch, _, height, width = x.shape
    _, _, kernel_h, kernel_w = weight.shape
    out_h, out_w = offset.shape[-2:]
    offset = offset.reshape(batch, kernel_h, kernel_w, 2, out_h, out_w)
    mask = mask.reshape(batch, kernel_h, kernel_w, 1, out_h, out_w)
    ys = torch.arange(out_h, device=x.device, dtype=x.dtype).view(1, 1, out_h, 1) - padding
    xs = torch.arange(out_w, device=x.device, dtype=x.dtype).view(1, 1, 1, out_w) - padding
    taps = torch.arange(kernel_w, device=x.device, dtype=x.dtype).view(1, kernel_w, 1, 1)

    # grid_sample runs in parallel over the batch alone, so the taps of a kernel row join the
    # batch; one row at a time, the column buffer is kernel_h times smaller than im2col's.
    sources = x.unsqueeze(1).expand(-1, kernel_w, -1, -1, -1).flatten(0, 1)
    out: Tensor | None = None
    for row in range(kernel_h):
        y = offset[:, row, :, 0] + (ys + row)  # (batch, kernel_w, out_h, out_w)
        xx = offset[:, row, :, 1] + (xs + taps)
        grid = torch.stack(((2 * xx + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)
        columns = F.grid_sample(sources, grid.flatten(0, 1), align_corners=False)
        columns = columns * mask[:, row].flatten(0, 1)
        columns = columns.view(batch, -1, out_h, out_w)  # (batch, kernel_w * in, out_h, out_w)
        kernel = weight[:, :, row].transpose(1, 2).reshape(weight.shape[0], -1, 1, 1)
        part = F.conv2d(columns, kernel, bias if row == 0 else None)
        out = part if out is None else out + part
    assert out is not None  # kernel_h >= 1
    return out
