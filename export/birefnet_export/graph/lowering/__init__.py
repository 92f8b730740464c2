"""How a deformable convolution becomes ONNX operators; one file per lowering.

Each is a function of the graph, the input map and two kernels, `predict` and `kernel`:

- x: float32 (batch, in, height, width);
- predict: of the convolution of x that predicts, for each of the k² taps, an offset, (y, x) in
  pixels, tap by tap, and behind all of them k² logits of the modulation;
- kernel: of the deformable convolution itself, square, of odd side k.

It returns float32 (batch, out, height, width): modulated DCNv2 (arXiv 1811.11168) with a modulation
of ``sigmoid(logit)``, zeros outside the map, bilinear in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..builder import Graph, Value
from ..kernels import Kernel
from . import gridsample, native, rows

Lowering = Callable[[Graph, Value, Kernel, Kernel], Value]

LOWERINGS: Mapping[str, Lowering] = {
    "native": native.deform_conv,
    "rows": rows.deform_conv,
    "gridsample": gridsample.deform_conv,
}
"""By the names of `options.LOWERINGS`."""
