"""`config.json` and `preprocessor_config.json`, with which transformers.js loads an export."""

from __future__ import annotations

from typing import Any

from .graph.signature import MEAN, STD

DEFAULT_SIZE = (1024, 1024)
"""Upstream's training size unless said otherwise; height and width."""


def config(*, external_data: bool = False) -> dict[str, Any]:
    """`config.json`: which architecture this is, by the hub's name, and where its weights are."""
    known: dict[str, Any] = {"architectures": ["BiRefNet"], "model_type": "birefnet"}
    if external_data:
        known["transformers.js_config"] = {"use_external_data_format": True}
    return known


def preprocessor_config(size: tuple[int, int] | None) -> dict[str, Any]:
    """`preprocessor_config.json`: upstream's pipeline at `size`, height and width."""
    height, width = size or DEFAULT_SIZE
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        "resample": 2,  # bilinear, by Pillow's number
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(MEAN),
        "image_std": list(STD),
    }
