"""What the rest of the network knows of a backbone."""

from __future__ import annotations

from typing import Protocol

from .. import nn


class Backbone(Protocol):
    """A backbone as a frozen dataclass of its widths, depths and the like."""

    @property
    def name(self) -> str:
        """Upstream's name, such as `swin_v1_l`, or that of the family for one without a name."""
        ...

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the four maps, shallow to deep."""
        ...

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels of the image to a position of each of the four maps, shallow to deep."""
        ...

    def module(self) -> nn.Layer:
        """Its layers, with upstream's state-dict names behind their prefix `bb.`."""
        ...
