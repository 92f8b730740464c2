"""`config.json` and `preprocessor_config.json`, with which transformers.js loads an export."""

from __future__ import annotations

from typing import Any

from birefnet_models.base.names import PREPROCESSOR_FILE
from birefnet_runtime.model.metadata import DEFAULT_SIZE

from .graph.signature import MEAN, STD


def hub_config(size: tuple[int, int] | None, *, external_data: bool) -> dict[str, dict[str, Any]]:
    """Contents of `config.json` and `preprocessor_config.json`, by file name.

    The first names the architecture as the hub does and says where the weights are, the second
    describes upstream's preprocessing at `size`, (height, width), by default 1024 x 1024.
    """
    config: dict[str, Any] = {"architectures": ["BiRefNet"], "model_type": "birefnet"}
    if external_data:
        config["transformers.js_config"] = {"use_external_data_format": True}
    height, width = size or DEFAULT_SIZE
    preprocessor = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        "resample": 2,  # Pillow's bilinear
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(MEAN),
        "image_std": list(STD),
    }
    return {"config.json": config, PREPROCESSOR_FILE: preprocessor}
