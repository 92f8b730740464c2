"""The deformable convolution of training: one pass of C instead of a grid_sample for each row.

The same function as `birefnet_export.network.deform_conv.deform_conv2d` (compared by
`python fused_deform.py`), about six times faster on one thread at nano's widths. Needs gcc when
training, nothing else does.
"""

import ctypes
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

REGISTER = 16


@cache
def library(used: int, outputs: int) -> ctypes.CDLL:
    """The C functions compiled for these numbers of channels."""
    source = Path(__file__).with_suffix(".c")
    target = Path(tempfile.mkdtemp()) / "fused_deform.so"
    width = -(-used // REGISTER) * REGISTER
    sizes = [f"-DUSED={used}", f"-DCHANNELS={width}", f"-DOUTPUTS={outputs}"]
    flags = ["-O3", "-march=native", "-mprefer-vector-width=512", "-ffast-math", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, *sizes, str(source), "-o", str(target), "-lm"], check=True)
    return ctypes.CDLL(str(target))


def pointers(*tensors: Tensor) -> list[ctypes.c_void_p]:
    """Addresses to hand to C; the tensors are contiguous float32."""
    return [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]


class FusedDeform(torch.autograd.Function):
    """Stride 1, padding of half the kernel, outputs a multiple of 16."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        batch, used, height, width = x.shape
        outputs, _, kernel, _ = weight.shape
        padding = -used % REGISTER
        lines = torch.nn.functional.pad(x.float().permute(0, 2, 3, 1), (0, padding)).contiguous()
        taps = torch.nn.functional.pad(
            weight.detach().float().flatten(2).permute(2, 1, 0), (0, 0, 0, padding)
        ).contiguous()  # (taps, channels, outputs)
        offset, mask = offset.float().contiguous(), mask.float().contiguous()
        out = torch.empty(batch, height, width, outputs)
        call = library(used, outputs).forward
        call(*pointers(lines, offset, mask, taps, out), batch, height, width, kernel)
        ctx.save_for_backward(lines, offset, mask, taps)
        ctx.shapes = (used, kernel, weight.shape, x.dtype, weight.dtype)
        return out.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        lines, offset, mask, taps = ctx.saved_tensors
        used, kernel, shape, dtype, weight_dtype = ctx.shapes
        batch, height, width, _ = lines.shape
        grad = grad.float().permute(0, 2, 3, 1).contiguous()
        turned = taps.transpose(1, 2).contiguous()
        results = [torch.empty_like(tensor) for tensor in (lines, offset, mask, taps)]
        call = library(used, shape[0]).backward
        call(*pointers(lines, offset, mask, turned, grad, *results), batch, height, width, kernel)
        grad_x, grad_offset, grad_mask, grad_taps = results
        grad_weight = grad_taps[:, :used].permute(2, 1, 0).reshape(shape)
        grad_x = grad_x[..., :used].permute(0, 3, 1, 2)
        return grad_x.to(dtype), grad_weight.to(weight_dtype), grad_offset, grad_mask


def deform(x: Tensor, weight: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
    """`birefnet_export.network.deform_conv.deform_conv2d` with padding of half the kernel."""
    out: Tensor = FusedDeform.apply(x, weight, offset, mask)  # type: ignore[no-untyped-call]
    return out


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference as a share of the largest value."""
    return float(((ours - theirs).abs().max() / theirs.abs().max()).detach())


def main() -> None:
    """Compare values and gradients with the plain deformable convolution."""
    from birefnet_benchmarks.pytorch.deform_conv import deform_conv2d

    for kernel in (1, 3, 7):
        inputs = [torch.randn(2, 12, 9, 13), torch.randn(16, 12, kernel, kernel)]
        inputs += [2 * torch.randn(2, count * kernel**2, 9, 13) for count in (2, 1)]
        ours = [tensor.clone().requires_grad_() for tensor in inputs]
        theirs = [tensor.clone().requires_grad_() for tensor in inputs]
        x, weight, offset, mask = theirs
        out, expected = deform(*ours), deform_conv2d(x, weight, offset, mask, padding=kernel // 2)
        direction = torch.randn_like(out)
        (out * direction).sum().backward()  # type: ignore[no-untyped-call]
        (expected * direction).sum().backward()  # type: ignore[no-untyped-call]
        print(kernel, difference(out, expected))
        for mine, other in zip(ours, theirs, strict=True):
            assert mine.grad is not None
            assert other.grad is not None
            print("  ", difference(mine.grad, other.grad))


if __name__ == "__main__":
    main()
