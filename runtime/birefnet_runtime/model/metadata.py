"""The facts that the export wrote into the `.onnx` file."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from birefnet_models.base.errors import OnnxFileError
from birefnet_models.base.names import METADATA_PREFIX, PREPROCESSOR_FILE
from birefnet_models.base.text import format_size, joined

from ..errors import ModelError, SizeError
from .locate import ModelFile
from .signature import OutputKind, Session, Signature
from .size import Size, auto_size, check_size, parse_height_width
from .validate import (
    LARGEST_FACT,
    LEAST_MEAN,
    LEAST_STD,
    as_amount,
    as_channels,
    as_side,
    read_json,
)

# The facts of a model that this project did not export, read from what lies there.
#
# Other exports say nothing inside the file. What can be known is taken from the graph itself (a
# fixed size, whether it ends in a sigmoid) and from the `preprocessor_config.json` of a hub
# folder; the rest is upstream's: ImageNet's mean and std, 1024 x 1024.


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


def output_kind(file: ModelFile, output: str) -> OutputKind:
    """`mask` where the graph ends in a sigmoid or a clip, else `logits`."""
    try:
        return "mask" if file.graph.ends_in_mask(output) else "logits"
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


METADATA_FORMAT = "1"
"""Raised when the meaning of an entry changes."""
RESIZE = "stretch-bilinear-antialias"
OUTPUTS: tuple[OutputKind, ...] = ("logits", "alpha")
DEFAULT_SIZE = (1024, 1024)
"""What upstream trains at unless said otherwise; height and width."""


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """How a model wants its input. Sizes are (height, width) in pixels.

    The defaults are upstream's: they hold for a file that carries no facts of its own.
    """

    trained_size: tuple[int, int] = DEFAULT_SIZE
    trained_range: tuple[tuple[int, int], tuple[int, int]] | None = None
    """Smallest and largest size of a checkpoint trained at many sizes."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Per channel in RGB order, of values in [0, 1]."""
    size_multiple: int = 32
    fixed: bool = False
    """The network runs at `trained_size` and at no other."""
    output: OutputKind = "logits"
    is_stated: bool = False
    """The file says this itself; of another one `logits` is a guess, which its values confirm."""
    activation_bytes_per_pixel: float | None = None
    """Of live tensors at their peak, per pixel of the input."""
    attention_bytes: tuple[float, float] = (0.0, 0.0)
    """Of attention among all parts of an image, per pixel and per squared pixel of it; the larger
    of this and of `activation_bytes_per_pixel` counts."""


def read_properties(session: Session, file: ModelFile | None) -> Mapping[str, str]:
    """Read a model's metadata_props.

    Raises:
        ModelError: they hold bytes that are no text.
    """
    try:
        properties: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError as error:
        raise ModelError(
            f"{file and file.path}: damaged: its metadata is not UTF-8 text"
        ) from error
    return properties


def model_facts(
    properties: Mapping[str, str], signature: Signature, file: ModelFile | None
) -> ModelMetadata:
    """What is known about a model: what it says itself, else what can be read off it.

    Args:
        properties: the model's metadata_props.
        signature: read from the session.
        file: the model; None for a session that was handed in.

    Raises:
        ModelError: facts that can't be read, or that ask for something this runtime doesn't do.
    """
    metadata = read_metadata(properties)
    if (
        file is not None and f"{METADATA_PREFIX}format" not in properties
    ):  # not from `birefnet export`
        facts, kind = preprocessing_facts(file.path), output_kind(file, signature.output)
        metadata = replace(metadata, **facts, output=kind)
    if signature.takes_pixels:
        metadata = replace(metadata, output="alpha", fixed=True)
    elif metadata.output == "alpha":
        raise ModelError("the model says that it takes pixels and gives alpha, and does not")
    if signature.size is not None:
        metadata = replace(metadata, trained_size=signature.size, fixed=True)
    return checked(metadata)


def read_metadata(properties: Mapping[str, str]) -> ModelMetadata:
    """Read the `birefnet.*` entries of an ONNX file's metadata_props.

    Raises:
        ModelError: an entry can't be read, or states something this runtime doesn't do.
    """
    known = {"format": (METADATA_FORMAT,), "resize": (RESIZE,), "output": OUTPUTS}
    for key, supported in known.items():
        stated = properties.get(f"{METADATA_PREFIX}{key}", supported[0])
        if stated not in supported:
            raise ModelError(
                f"the model says birefnet.{key} = {_shown(stated)} and this runtime knows only "
                f"{joined([repr(known) for known in supported])}; a newer birefnet-ort may be "
                "needed"
            )
    output = properties.get(f"{METADATA_PREFIX}output", OUTPUTS[0])
    read: dict[str, Any] = {
        "output": output,
        "fixed": output == "alpha",
        "is_stated": not {f"{METADATA_PREFIX}{key}" for key in ("format", "output")}.isdisjoint(
            properties
        ),
    }
    for key, parse in _PARSERS.items():
        if (text := properties.get(f"{METADATA_PREFIX}{key}")) is not None:
            try:
                read[key] = parse(text)
            except (ValueError, SizeError) as error:
                raise ModelError(
                    f"the model's metadata is damaged: birefnet.{key} = {_shown(text)}"
                ) from error
    return checked(ModelMetadata(**read))


def unstated_size_note(properties: Mapping[str, str]) -> str | None:
    """What to say of an export that doesn't tell at which size it was trained; None of others."""
    stated = {key.removeprefix(METADATA_PREFIX) for key in properties}
    if "format" not in stated or "trained_size" in stated:
        return None
    return (
        f"the model doesn't say at which size it was trained; {format_size(DEFAULT_SIZE)} is "
        "assumed, and masks are poor if that is wrong: export it with --trained-size, or give a "
        "size here"
    )


def checked(metadata: ModelMetadata) -> ModelMetadata:
    """Return metadata whose facts fit each other.

    Raises:
        ModelError: the network couldn't run at the size that it was trained at.
    """
    least = 1 if metadata.fixed else metadata.size_multiple
    if min(metadata.trained_size) < least:
        raise ModelError(
            f"the model says it was trained at {format_size(metadata.trained_size)}, and that its "
            f"sides are multiples of {metadata.size_multiple}: one of them is wrong"
        )
    return metadata


def _shown(text: str) -> str:
    """A fact in a message: escaped, and not for pages."""
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _range(text: str) -> tuple[tuple[int, int], tuple[int, int]]:
    smallest, largest = map(parse_height_width, text.split("-"))
    if smallest[0] > largest[0] or smallest[1] > largest[1]:
        raise ValueError("the smallest size is larger than the largest")
    return smallest, largest


def _two_amounts(text: str) -> tuple[float, float]:
    numbers = read_json(text)
    if not isinstance(numbers, list) or len(numbers) != 2:
        raise ValueError("no list of two numbers")
    return as_amount(str(numbers[0])), as_amount(str(numbers[1]))


_PARSERS: dict[str, Callable[[str], object]] = {
    "trained_size": parse_height_width,
    "trained_range": _range,
    "mean": lambda text: as_channels(read_json(text), LEAST_MEAN),
    "std": lambda text: as_channels(read_json(text), LEAST_STD),
    "size_multiple": lambda text: as_side(int(text)),
    "activation_bytes_per_pixel": as_amount,
    "attention_bytes": _two_amounts,
}


def concrete_sizes(size: Size, metadata: ModelMetadata) -> list[tuple[int, int]]:
    """The (height, width)s that a size as asked for stands for.

    Raises:
        SizeError: the network can't run at it.
    """
    trained, multiple = metadata.trained_size, metadata.size_multiple
    if size == "auto":
        return [auto_size(ratio, trained, multiple) for ratio in ((1, 1), (1, 2), (2, 1))]
    if size is None:
        size = trained
    elif isinstance(size, int):
        size = (size, size)
    return [check_size(size, multiple)]
