"""BiRefNet (arXiv 2401.03407), from an image to logits."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..network import nn
from ..network.backbone.dino_v3 import DinoV3Features
from ..network.backbone.pvt_v2 import PyramidVisionTransformer
from ..network.backbone.swin_v1 import SwinTransformer
from ..network.birefnet import BiRefNet
from .decoder import Observer, block, decoder
from .dino_v3 import dino_v3
from .layers import Array, resize, resize_as
from .pvt_v2 import pvt_v2
from .swin_v1 import swin_v1

BACKBONES: dict[type[nn.Layer], Callable[[Array, Any], list[Array]]] = {
    SwinTransformer: swin_v1,
    PyramidVisionTransformer: pvt_v2,
    DinoV3Features: dino_v3,
}
"""Each takes an image (batch, height, width, 3) and its own layers, and gives four maps."""


class RememberedLogits:
    """The logits of a network's images, computed by `logits` once for each image.

    Files of several precisions are proved against the same answers. They are kept: a few megabytes.

    Args:
        net: the checkpoint's layers, bound to their values.
    """

    def __init__(self, net: BiRefNet) -> None:
        self.net = net
        self._known: dict[bytes, Array] = {}

    def __call__(self, image: NDArray[np.floating[Any]]) -> Array:
        """Float (batch, 3, height, width) to float64 (batch, 1, height, width)."""
        digest = sha256(f"{image.dtype}{image.shape}".encode())
        digest.update(np.ascontiguousarray(image).data)
        if digest.digest() not in self._known:
            self._known[digest.digest()] = logits(image, self.net)
        return self._known[digest.digest()]


def logits(
    image: NDArray[np.floating[Any]], net: BiRefNet, observe: Observer = lambda point, x: None
) -> Array:
    """The logits of the mask of an image; their sigmoid is the alpha.

    Products run on one thread, in the whole process as long as this runs: OpenBLAS's threads wait
    for each other, and beside a busy core many small products take a hundred times as long.

    Args:
        image: (batch, 3, height, width) in RGB, normalized with ImageNet's mean and deviation; its
            sides are multiples of 32.
        net: the layers, bound to their values.
        observe: called with maps on the way, as (batch, height, width, channels) and by the names
            that the exported graph gives them: `backbone.full.stage0` and on, `squeeze`,
            `decoder.block4`, `decoder.lateral4` and on.

    Returns:
        float64 (batch, 1, height, width).
    """
    x = np.asarray(image, np.float64).transpose(0, 2, 3, 1)
    with threadpool_limits(1, "blas"):
        y = decoder(x, encoder_maps(x, net, observe), net.decoder, observe)
    return y.transpose(0, 3, 1, 2)


def encoder_maps(image: Array, net: BiRefNet, observe: Observer) -> list[Array]:
    """The backbone's four maps, the deepest one given its context and squeezed."""
    *shallow, deepest = backbone_maps(image, net, observe)
    context = [resize_as(x, deepest) for x in shallow[3 - net.arch.context :]]
    x = np.concatenate((*context, deepest), -1)
    for each in net.squeeze_module:
        x = block(x, each)
    if net.arch.squeeze:
        observe("squeeze", x)
    return [*shallow, x]


def backbone_maps(image: Array, net: BiRefNet, observe: Observer) -> list[Array]:
    """Four maps, shallow to deep, of one scale of the image or both."""
    backbone = BACKBONES[type(net.bb)]
    multi_scale = net.arch.with_multi_scale(None).multi_scale  # known, that is
    full = backbone(image, net.bb)
    for i, x in enumerate(full):
        observe(f"backbone.full.stage{i}", x)
    if multi_scale == "none":
        return full
    half = backbone(resize(image, (image.shape[1] // 2, image.shape[2] // 2)), net.bb)
    for i, x in enumerate(half):
        observe(f"backbone.half.stage{i}", x)
    pairs = [(x, resize_as(y, x)) for x, y in zip(full, half, strict=True)]
    return [x + y if multi_scale == "add" else np.concatenate((x, y), -1) for x, y in pairs]
