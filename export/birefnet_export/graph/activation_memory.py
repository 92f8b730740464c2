"""How much memory the graph's tensors take at once, per pixel of its input.

A fact that the file carries, so that the runtime can say beforehand what fits. Memory peaks in one
of two places, both a quarter of the input's height and width: attention in the first stage, or the
largest deformable convolution of the last decoder block. What is held there is counted in channels;
`benchmarks/results/targets.json` has the measured peaks that this is compared with.
"""

from __future__ import annotations

from ..network.architecture import Architecture

BYTES = 4
"""Of a float32."""
PIXELS = 16
"""Of the input, for one of a map at stride 4."""
ENDS = 3 + 1
"""Channels of the input and of the logits, at full size."""


def activation_bytes_per_pixel(arch: Architecture, lowering: str) -> float:
    """Bytes that live tensors and ONNX Runtime's buffers take at their peak, per input pixel."""
    at_quarter = max(_attention(arch), _deformable_convolution(arch, lowering))
    return BYTES * (at_quarter / PIXELS + ENDS)


def _attention(arch: Architecture) -> int:
    """Residual, padded and cut tokens, q, k and v twice, the result twice; scores twice."""
    return (3 + 6 + 2) * arch.embed_dim + 2 * arch.num_heads[0] * arch.window**2


def _deformable_convolution(arch: Architecture, lowering: str) -> int:
    """Input and running sum of the block, predicted offsets, samples, result and sum of rows."""
    side = max(arch.aspp_kernels)
    taps = side**2
    sampled = taps if lowering == "native" else side
    where = 8 * sampled  # four neighbors of a tap: an index and a weight each
    return (
        2 * arch.decoder_width
        + 3 * taps
        + where
        + sampled * arch.decoder_width
        + (2 * arch.aspp_width)
    )
