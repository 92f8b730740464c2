"""What exports are compared with: networks that give logits, and the maps on the way to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from birefnet_models.pins import FetchOptions
from numpy.typing import NDArray

from ..checkpoint.fetch import fetch
from ..checkpoint.read import read_fetched
from ..graph.signature import OUTPUT
from ..network.birefnet import BiRefNet
from ..reference import birefnet

Array = NDArray[np.floating[Any]]
COMPUTED_BY = f"numpy {np.__version__} in float64"
"""What computes the reference, and its version."""


class Reference(Protocol):
    """A network to compare with, as long as it is open."""

    @property
    def name(self) -> str:
        """Where it is from: a file, a repository and commit, a URL."""
        ...

    @property
    def computed_by(self) -> str:
        """What computes it, with its version: ``numpy 2.3.4 in float64``."""
        ...

    def logits(self, image: Array) -> Array:
        """Logits (batch, 1, height, width) of normalized RGB (batch, 3, height, width).

        They are computed in the type of the image, float32 or float64, or in a better one.
        """
        ...

    def maps(self, image: Array) -> Mapping[str, Array]:
        """The maps at `layer_diff.POINTS` that it has, (batch, channels, height, width) each.

        Raises:
            ParityError: its parts are not known by upstream's names.
        """
        ...


OpenReference = Callable[[str, str | None, FetchOptions], Reference]
"""From a checkpoint, the setting `multi_scale` that its tensors can't tell, and how it is fetched.

What it raises is what reading a checkpoint raises, and ParityError.
"""


@dataclass(frozen=True, slots=True)
class NumpyReference:
    """A checkpoint in the reference of this package: NumPy, float64."""

    net: BiRefNet
    name: str
    computed_by: str = COMPUTED_BY

    def logits(self, image: Array) -> NDArray[np.float64]:
        """Logits, float64 whatever the type of the image."""
        return birefnet.logits(image, self.net)

    def maps(self, image: Array) -> Mapping[str, Array]:
        """The maps at all points, float64."""
        found: dict[str, Array] = {}

        def keep(point: str, x: Array) -> None:
            found[point] = x.transpose(0, 3, 1, 2)

        found[OUTPUT.name] = birefnet.logits(image, self.net, keep)
        last = self.net.decoder.conv_out1[0]
        found["decoder.block1"] = under_upsampling(found["decoder.block1"], last.weight, last.bias)
        return found


def open_numpy_reference(
    text: str, multi_scale: str | None, fetching: FetchOptions
) -> NumpyReference:
    """Open a checkpoint as a reference; see `OpenReference`."""
    checkpoint = read_fetched(fetch(text, fetching))
    if checkpoint.arch.multi_scale is None:
        checkpoint = checkpoint.with_multi_scale(multi_scale)
    return NumpyReference(checkpoint.network(), checkpoint.origin or str(checkpoint.path))


def under_upsampling(block1: Array, weight: Array, bias: Array) -> Array:
    """What a graph has at `decoder.block1`, from that block's own map.

    In a graph the last 1 x 1 convolution has moved below the upsampling: it follows block 1 there,
    with those of its weights that meet the block's channels.

    Args:
        block1: (batch, channels, height, width).
        weight: of that convolution, (1, channels and more, 1, 1).
        bias: (1,).
    """
    own = weight[:, : block1.shape[1], 0, 0]
    return np.asarray(np.einsum("bchw,oc->bohw", block1, own) + bias)
