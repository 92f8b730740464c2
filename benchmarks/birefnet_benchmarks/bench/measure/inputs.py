"""What is timed and compared: the same tensor for all rows of a case."""

from __future__ import annotations

from birefnet_export.parity.sample_tensors import sample_image

from ..backends.base import Tensor


def sample_tensor(batch: int, size: tuple[int, int]) -> Tensor:
    """float32 (batch, 3, height, width), drawn from its own shape."""
    return sample_image((batch, *size))
