"""The facts that an `.onnx` file carries about itself, in its metadata_props."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

from .checkpoint import Checkpoint
from .footprint import activation_bytes_per_pixel
from .signature import SIZE_MULTIPLE

PREFIX = "birefnet."
FORMAT = "1"
"""Raised when the meaning of an entry changes."""
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet's, per channel in RGB order, of values in [0, 1]."""


def facts(
    checkpoint: Checkpoint,
    opset: int,
    lowering: str,
    trained_size: tuple[int, int] | None,
    parity: dict[str, Any] | None,
) -> dict[str, str]:
    """The metadata_props of an export; what is not known has no entry.

    Args:
        trained_size: height and width.
        parity: measured differences to PyTorch, JSON-ready.
    """
    peak = activation_bytes_per_pixel(checkpoint.arch, lowering)
    known: dict[str, Any] = {
        "format": FORMAT,
        "producer_version": version("birefnet-ort"),
        "checkpoint": checkpoint.path.name,
        "checkpoint_sha256": checkpoint.sha256,
        "source": checkpoint.origin,
        "model": checkpoint.model,
        "licence": checkpoint.licence,
        "backbone": checkpoint.arch.backbone,
        "architecture": json.dumps(checkpoint.arch.to_dict()),
        "trained_size": trained_size and _text(trained_size),
        "trained_range": "-".join(_text(size) for size in checkpoint.trained_range or ()),
        "mean": json.dumps(MEAN),
        "std": json.dumps(STD),
        "resize": "stretch-bilinear-antialias",
        "output": "logits",
        "size_multiple": str(SIZE_MULTIPLE),
        "opset": str(opset),
        "precision": "fp32",
        "lowering": lowering,
        "activation_bytes_per_pixel": f"{peak:.0f}",
        "parity": parity and json.dumps(parity),
    }
    return {PREFIX + key: value for key, value in known.items() if value}


def _text(size: tuple[int, int]) -> str:
    return "x".join(map(str, size))
