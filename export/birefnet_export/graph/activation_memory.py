"""How much memory the graph's tensors take at once, per pixel of its input.

A fact that the file carries, so that the runtime can say beforehand what fits. Memory peaks in one
of two places: in the backbone's attention, or in the largest convolution of the last decoder block,
at a quarter of the input's height and width. What is held there is counted in channels;
`benchmarks/results/targets.json` has the measured peaks that this is compared with. Attention among
all tokens of an image takes memory in the square of its pixels: that is a fact of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..network.architecture import Architecture
from ..network.backbone.dino_v3 import PATCH, DinoV3
from ..network.backbone.pvt_v2 import PvtV2
from ..network.backbone.swin_v1 import SwinV1
from .fused.backbone.dino_v3 import parts_of
from .fused.backbone.pvt_v2 import HIDDEN_PARTS, QUERY_PARTS

LARGEST_TRAINED = 2304
"""Pixels a side of the largest square of the zoo's trained sizes (`dynamic`)."""


def _swin_v1(swin: SwinV1) -> int:
    # Residual, padded and cut tokens, q, k and v twice, the result twice; scores twice.
    return (3 + 6 + 2) * swin.embed_dim + 2 * swin.num_heads[0] * swin.window**2


def _dino_v3(dino: DinoV3) -> int:
    # Residual, three maps, what leaves and what enters a product; the MLP's hidden tensors.
    channels = 6 * dino.width + (3 if dino.gated else 2) * dino.mlp_hidden
    return channels // 4**2  # a token stands for as many positions


def _pvt_v2(pvt: PvtV2) -> int:
    # Scores of one part of a stage's queries grow with the square of the pixels; counted are those
    # at the largest size that any released model was trained at.
    keys = (LARGEST_TRAINED // (pvt.strides[0] * pvt.reductions[0])) ** 2
    scores = keys * pvt.num_heads[0] // QUERY_PARTS[0]
    # Residual, normalized tokens, queries, what attends and its parts, the sum of the parts.
    return 6 * pvt.widths[0] + max(scores, 3 * pvt.mlp_hidden[0] // HIDDEN_PARTS[0])


PEAK_CHANNELS: dict[type, Callable[[Any], int]] = {
    SwinV1: _swin_v1,
    PvtV2: _pvt_v2,
    DinoV3: _dino_v3,
}
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
    decoder = max(decoder, 3 * arch.decoder_channels[0])  # two maps and their sum
    at_full_size = 3 + 1  # channels of the input and of the logits
    pixels_per_position = 4 * 4  # of a map at stride 4
    return 4 * (max(backbone, decoder) / pixels_per_position + at_full_size)


def attention_bytes(arch: Architecture, opset: int) -> tuple[float, float] | None:
    """Bytes at the peak of attention among all tokens of an image, if the backbone has it.

    Returns:
        Per pixel and per squared pixel of an image: at n pixels the first times n plus the second
        times n². What counts is the larger of this and of `activation_bytes_per_pixel`.
    """
    dino = arch.backbone
    if not isinstance(dino, DinoV3):
        return None
    tokens = 1 / PATCH**2  # of a pixel
    # Residual, three maps, normalized tokens twice, q, k and v twice, the result twice.
    linear = (4 + 2 + 6 + 2) * dino.width * tokens + 3
    heads = dino.width // dino.head_width
    scores = heads / parts_of(heads) * (1 if opset >= 23 else 2)  # and their Softmax
    return 4 * linear, 4 * scores * tokens**2
