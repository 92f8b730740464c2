"""How much memory the graph's tensors take at once, per pixel of its input.

A fact that the file carries, so that the runtime can say beforehand what fits. Memory peaks in one
of two places, both a quarter of the input's height and width: attention in the first stage, or the
largest convolution of the last decoder block. What is held there is counted in channels;
`benchmarks/results/targets.json` has the measured peaks that this is compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..network.architecture import Architecture
from ..network.backbone.pvt_v2 import PvtV2
from ..network.backbone.swin_v1 import SwinV1
from .fused.backbone.pvt_v2 import HIDDEN_PARTS, QUERY_PARTS

LARGEST_TRAINED = 2304
"""Pixels a side of the largest square of the zoo's trained sizes (`dynamic`)."""


def _swin_v1(swin: SwinV1) -> int:
    # Residual, padded and cut tokens, q, k and v twice, the result twice; scores twice.
    return (3 + 6 + 2) * swin.embed_dim + 2 * swin.num_heads[0] * swin.window**2


def _pvt_v2(pvt: PvtV2) -> int:
    # Scores of one part of a stage's queries grow with the square of the pixels; counted are those
    # at the largest size that any released model was trained at.
    keys = (LARGEST_TRAINED // (pvt.strides[0] * pvt.reductions[0])) ** 2
    scores = keys * pvt.num_heads[0] // QUERY_PARTS[0]
    # Residual, normalized tokens, queries, what attends and its parts, the sum of the parts.
    return 6 * pvt.widths[0] + max(scores, 3 * pvt.mlp_hidden[0] // HIDDEN_PARTS[0])


PEAK_CHANNELS: dict[type, Callable[[Any], int]] = {SwinV1: _swin_v1, PvtV2: _pvt_v2}
"""By the backbone's record: channels of its tensors at their peak, at a quarter of the input."""


def activation_bytes_per_pixel(arch: Architecture, lowering: str) -> float:
    """Bytes that live tensors and ONNX Runtime's buffers take at their peak, per input pixel."""
    backbone = PEAK_CHANNELS[type(arch.backbone)](arch.backbone)
    # Input and running sum of the block; result and sum of the branches, if there are any.
    decoder = 2 * arch.decoder_width + 2 * arch.aspp_width
    if arch.attention == "ASPPDeformable":
        side = max(arch.aspp_kernels, default=1)
        taps = side**2
        sampled = taps if lowering == "native" else side
        decoder += (
            3 * taps  # predicted offsets and modulations
            + 8 * sampled  # four neighbors of a tap: an index and a weight each
            + sampled * arch.decoder_width
        )
    at_full_size = 3 + 1  # channels of the input and of the logits
    pixels_per_position = 4 * 4  # of a map at stride 4
    return 4 * (max(backbone, decoder) / pixels_per_position + at_full_size)
