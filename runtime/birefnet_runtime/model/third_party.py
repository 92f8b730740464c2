"""The facts of a model that this project did not export, read from what lies there.

Other exports say nothing inside the file. What can be known is taken from the graph itself (a fixed
size, whether it ends in a sigmoid) and from the `preprocessor_config.json` of a hub folder; the
rest is upstream's: ImageNet's mean and std, 1024 x 1024.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from birefnet_models.errors import OnnxFileError
from birefnet_models.names import PREPROCESSOR_FILE
from birefnet_models.onnx_file import read_onnx
from numpy.typing import NDArray

from ..errors import ModelError
from .facts import LARGEST_FACT, LEAST_MEAN, LEAST_STD, as_channels, as_side, read_json
from .signature import OutputKind

_LEAST = np.float32(2**-24)
"""The smallest distance from 1 in float32."""


def preprocessing_facts(path: Path) -> dict[str, Any]:
    """`trained_size`, `mean` and `std`, as far as a preprocessor file near the model says them.

    Args:
        path: the `.onnx` file; the file lies in its folder, or in the one above `onnx/`.

    Raises:
        ModelError: it can't be read, or asks for something this runtime doesn't do.
    """
    folders = (path.parent, path.parent.parent) if path.parent.name == "onnx" else (path.parent,)
    for folder in folders:
        file = folder / PREPROCESSOR_FILE
        if file.is_file():
            try:
                with file.open(encoding="utf-8") as stream:
                    config = read_json(stream.read(LARGEST_FACT + 1))
            except (OSError, ValueError) as error:
                raise ModelError(f"{file}: can't be read as JSON: {error}") from error
            if not isinstance(config, dict):
                raise ModelError(f"{file}: holds no JSON object")
            return _preprocessing(file, config)
    return {}


def as_logits(mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logits whose sigmoid is this mask, to 1e-7.

    Args:
        mask: float32, in [0, 1]; the ends, whose logits are infinite, are moved by 6e-8.
    """
    inside = mask.clip(_LEAST, 1 - _LEAST)
    logits: NDArray[np.float32] = np.log(inside / (1 - inside))
    return logits


def output_kind(path: Path, output: str) -> OutputKind:
    """`mask` where the graph ends in a sigmoid or a clip, else `logits`."""
    try:
        return "mask" if read_onnx(path).ends_in_mask(output) else "logits"
    except OnnxFileError:  # ONNX Runtime has loaded it: some other format of its own
        return "logits"


def _preprocessing(file: Path, config: dict[str, Any]) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = {}
        if (size := config.get("size")) is not None:
            sides = (size["height"], size["width"]) if isinstance(size, dict) else (size, size)
            facts["trained_size"] = (as_side(sides[0]), as_side(sides[1]))
        if not config.get("do_normalize", True):
            facts |= {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
        else:
            for key, least in (("mean", LEAST_MEAN), ("std", LEAST_STD)):
                if (channels := config.get(f"image_{key}")) is not None:
                    facts[key] = as_channels(channels, least)
        rescales = config.get("do_rescale", True)
        factor = float(config.get("rescale_factor", 1 / 255)) if rescales else 1.0
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{file}: size, image_mean or image_std can't be read: {error}") from error
    if not math.isclose(factor, 1 / 255, rel_tol=1e-3):
        raise ModelError(f"{file}: pixels scaled by {factor:g}; only 1/255 is supported")
    return facts
