"""Facts about an export: in the metadata_props of its `.onnx` file, and for transformers.js in
`config.json` and `preprocessor_config.json` beside it."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

from birefnet_models.base.names import METADATA_PREFIX, PREPROCESSOR_FILE
from birefnet_models.base.text import format_size
from birefnet_runtime.model.metadata import DEFAULT_SIZE, METADATA_FORMAT

from .checkpoint.read import Checkpoint
from .graph.activation_memory import activation_bytes_per_pixel, attention_bytes
from .graph.signature import MEAN, SIZE_MULTIPLE, STD
from .options import GraphForm
from .precision.int8 import PAIR_LIMIT
from .verify.alphas import AlphaParity
from .verify.headroom import HeadRoom
from .verify.logits import Parity
from .verify.quality import Quality


def facts(
    checkpoint: Checkpoint,
    form: GraphForm,
    trained_size: tuple[int, int] | None,
    precision: str,
    quality: Quality | None,
    headroom: HeadRoom | None = None,
) -> dict[str, str]:
    """The metadata_props of an export; what is not known has no entry.

    Args:
        trained_size: height and width.
        quality: what fp16 or int8 does to masks of photographs.
        headroom: how near values of an fp16 file come to where float16 ends.
    """
    attention = attention_bytes(checkpoint.arch, form.opset)
    peak = activation_bytes_per_pixel(checkpoint.arch, form.lowering.name)
    known: dict[str, Any] = {
        "format": METADATA_FORMAT,
        "producer_version": version("birefnet-ort"),
        "checkpoint": checkpoint.path.name,
        "checkpoint_sha256": checkpoint.sha256,
        "source": checkpoint.origin,
        "model": checkpoint.model,
        "license": checkpoint.license,
        "backbone": checkpoint.arch.backbone.name,
        "architecture": json.dumps(checkpoint.arch.to_dict()),
        "trained_size": trained_size and format_size(trained_size),
        "trained_range": "-".join(format_size(size) for size in checkpoint.trained_range or ()),
        "mean": json.dumps(MEAN),
        "std": json.dumps(STD),
        "resize": "stretch-bilinear-antialias",
        "output": "logits",
        "size_multiple": str(SIZE_MULTIPLE),
        "opset": str(form.opset),
        "precision": precision,
        "int8_pair_limit": str(PAIR_LIMIT) if precision == "int8" else None,
        "lowering": form.lowering.name,
        "activation_bytes_per_pixel": f"{peak:.0f}",
        "attention_bytes": attention and json.dumps(attention),
        "quality": quality and json.dumps(quality.to_dict()),
        "headroom": headroom and headroom.to_json(),
    }
    return {METADATA_PREFIX + key: value for key, value in known.items() if value}


def end_to_end_facts(
    facts: dict[str, str], size: tuple[int, int], parity: AlphaParity | None
) -> dict[str, str]:
    """The metadata_props of the file from pixels to alpha, of those of the graph inside it.

    Args:
        size: (height, width) at which that graph runs.
        parity: differences to the runtime's own steps; None where the file isn't verified.
    """
    known = {"output": "alpha", "trained_size": format_size(size)}
    if parity is not None:
        known["end_to_end_parity"] = json.dumps(parity.to_dict())
    return facts | {METADATA_PREFIX + key: value for key, value in known.items()}


def parity_facts(parity: Parity) -> dict[str, str]:
    """The metadata_props entry of a verified file: the measured differences to the reference."""
    return {METADATA_PREFIX + "parity": json.dumps(parity.to_dict())}


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
