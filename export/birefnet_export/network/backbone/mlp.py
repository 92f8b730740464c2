"""The MLP of a transformer block, as Swin and DINOv3 have it."""

from __future__ import annotations

from .. import nn


class MLP(nn.Layer):
    """Two linear layers around an exact GELU."""

    def __init__(self, width: int, hidden: int) -> None:
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
