"""What the rest of the network knows of a backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn


class BackboneModule(Protocol):
    """An image in, four maps out."""

    def __call__(self, image: Tensor) -> list[Tensor]:
        """Float (batch, 3, height, width), sides multiples of 16, to four maps, shallow to deep.

        Map ``i`` is (batch, ``widths[i]``, height / ``strides[i]``, width / ``strides[i]``), its
        sides rounded up.
        """
        ...


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

    def module(self) -> nn.Module:
        """A new `BackboneModule` with upstream's state-dict names, behind their prefix `bb.`."""
        ...
