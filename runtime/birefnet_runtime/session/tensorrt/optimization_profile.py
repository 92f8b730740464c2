"""Optimization profiles: which shapes a TensorRT engine is built for, and which fit into one."""

from collections.abc import Sequence

from birefnet_models.text import format_size

from ...errors import SizeError
from ...model.input_size import Size, auto_size, check_size
from ...model.metadata import ModelMetadata
from ..providers.options import Profile

Shape = tuple[int, int, int]
"""(batch, height, width)."""


def derive_profile(metadata: ModelMetadata, sizes: Sequence[Size] = (), batch: int = 1) -> Profile:
    """The narrowest profile that holds what will be run: the narrower, the faster the engine.

    Args:
        metadata: of the model.
        sizes: those that will be asked for, the most frequent first; none: the trained size alone.
            "auto" stands for every aspect ratio from 1:2 to 2:1.
        batch: the largest.

    Raises:
        SizeError: the network can't run at one of the sizes.
    """
    named = [size for asked in sizes or [None] for size in concrete_sizes(asked, metadata)]
    heights, widths = [size[0] for size in named], [size[1] for size in named]
    return Profile(
        smallest=(1, min(heights), min(widths)),
        best=(batch, *named[0]),
        largest=(batch, max(heights), max(widths)),
    )


def covers(profile: Profile, needed: Profile) -> bool:
    """Whether an engine of the one profile runs all that is needed."""
    return fits(profile, needed.smallest) and fits(profile, needed.largest)


def fits(profile: Profile, shape: Shape) -> bool:
    """Whether this (batch, height, width) lies within the profile."""
    bounds = zip(profile.smallest, shape, profile.largest, strict=True)
    return all(low <= side <= high for low, side, high in bounds)


def check_fits(profile: Profile, shape: Shape) -> None:
    """Refuse a shape before TensorRT does, which names no range.

    Raises:
        SizeError: the shape lies outside the profile.
    """
    if not fits(profile, shape):
        raise SizeError(
            f"a batch of {shape[0]} at {format_size(shape[1:])} lies outside what this TensorRT "
            f"engine was built for ({describe(profile)}); build one for it: birefnet warm "
            f"--size {format_size(shape[1:])} --batch {shape[0]}"
        )


def describe(profile: Profile) -> str:
    """`1 to 4 at 512x512 to 1024x2048`, or `1 at 1024x1024`."""
    ends = (profile.smallest, profile.largest)
    batch = " to ".join(dict.fromkeys(str(shape[0]) for shape in ends))
    return f"{batch} at {' to '.join(dict.fromkeys(format_size(shape[1:]) for shape in ends))}"


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
