"""How a deformable convolution becomes ONNX operators; one file per lowering.

- native: one `DeformConv` (opset 19) each; GELU is one operator from opset 20 on.
- rows: a large one as a sum of `DeformConv`s over rows of taps, for CPUs, where opset 23's
  `Attention` saves time as well.
- gridsample: `GridSample` and `MatMul`, for runtimes without `DeformConv`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..builder import Graph, Value
    from ..kernels import Kernel


@dataclass(frozen=True, slots=True)
class Lowering:
    """A way of writing deformable convolutions, and the opsets that it can be written in."""

    name: str
    first_opset: int
    default_opset: int

    def deform_conv(self, g: Graph, x: Value, predict: Kernel, kernel: Kernel) -> Value:
        """A modulated deformable convolution (DCNv2, arXiv 1811.11168) that keeps the map's size.

        Outside the map there are zeros, between its pixels values are bilinear.

        Args:
            x: float32 (batch, in, height, width).
            predict: of the convolution of x that predicts, for each of the k² taps, an offset,
                (y, x) in pixels, tap by tap, and behind all of them k² logits; their sigmoid is the
                modulation.
            kernel: of the deformable convolution itself, square, of odd side k.

        Returns:
            float32 (batch, out, height, width).
        """
        from . import gridsample, native, rows  # with onnx, which a list of names does not need

        write = {
            "native": native.deform_conv,
            "rows": rows.deform_conv,
            "gridsample": gridsample.deform_conv,
        }
        return write[self.name](g, x, predict, kernel)


LOWERINGS: Mapping[str, Lowering] = {
    lowering.name: lowering
    for lowering in (
        Lowering("native", first_opset=19, default_opset=20),
        Lowering("rows", first_opset=19, default_opset=23),
        Lowering("gridsample", first_opset=17, default_opset=17),
    )
}
"""By name."""
