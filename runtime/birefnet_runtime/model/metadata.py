"""The facts that the export wrote into the `.onnx` file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import ModelError, SizeError
from .input_size import parse_height_width
from .signature import OutputKind, Session, Signature
from .third_party import output_kind, preprocessing_facts

PREFIX = "birefnet."
FORMAT = "1"
RESIZE = "stretch-bilinear-antialias"
OUTPUT = "logits"


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """How a model wants its input. Sizes are (height, width) in pixels.

    The defaults are upstream's: they hold for a file that carries no facts of its own.
    """

    trained_size: tuple[int, int] = (1024, 1024)
    trained_range: tuple[tuple[int, int], tuple[int, int]] | None = None
    """Smallest and largest size of a checkpoint trained at many sizes."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Per channel in RGB order, of values in [0, 1]."""
    size_multiple: int = 32
    fixed: bool = False
    """The graph runs at `trained_size` and at no other."""
    output: OutputKind = "logits"


def model_facts(session: Session, signature: Signature, path: Path | None) -> ModelMetadata:
    """What is known about a model: what it says itself, else what can be read off it.

    Args:
        session: of the model.
        signature: read from the session.
        path: the `.onnx` file; None for a session that was handed in.

    Raises:
        ModelError: facts that can't be read, or that ask for something this runtime doesn't do.
    """
    properties = session.get_modelmeta().custom_metadata_map
    metadata = read_metadata(properties)
    if path is not None and f"{PREFIX}format" not in properties:  # not from `birefnet export`
        metadata = replace(
            metadata, **preprocessing_facts(path), output=output_kind(path, signature.output)
        )
    if signature.size is not None:
        metadata = replace(metadata, trained_size=signature.size, fixed=True)
    return metadata


def read_metadata(properties: Mapping[str, str]) -> ModelMetadata:
    """Read the `birefnet.*` entries of an ONNX file's metadata_props.

    Raises:
        ModelError: an entry can't be read, or states something this runtime doesn't do.
    """
    for key, supported in (("format", FORMAT), ("resize", RESIZE), ("output", OUTPUT)):
        stated = properties.get(f"{PREFIX}{key}", supported)
        if stated != supported:
            raise ModelError(
                f"the model says birefnet.{key} = {stated!r} and this runtime knows only "
                f"{supported!r}; a newer birefnet-ort may be needed"
            )
    read: dict[str, Any] = {}
    for key, parse in _PARSERS.items():
        if (text := properties.get(f"{PREFIX}{key}")) is not None:
            try:
                read[key] = parse(text)
            except (ValueError, TypeError, SizeError) as error:
                raise ModelError(
                    f"the model's metadata is damaged: birefnet.{key} = {text!r}"
                ) from error
    return ModelMetadata(**read)


def _channels(text: str) -> tuple[float, float, float]:
    red, green, blue = json.loads(text)
    return float(red), float(green), float(blue)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def _range(text: str) -> tuple[tuple[int, int], tuple[int, int]]:
    smallest, largest = text.split("-")
    return parse_height_width(smallest), parse_height_width(largest)


_PARSERS = {
    "trained_size": parse_height_width,
    "trained_range": _range,
    "mean": _channels,
    "std": _channels,
    "size_multiple": _positive,
}
