"""How much memory a model takes on a CPU: settings by name, and a limit kept beforehand.

The settings of ONNX Runtime decide as much as the graph does: `benchmarks/results/targets.json` has
what each costs and saves. The estimates here are made to lie above what was measured there.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import Literal, TypeAlias

from birefnet_models.base.errors import OnnxFileError
from birefnet_models.base.names import METADATA_PREFIX
from birefnet_models.base.text import first_line, format_bytes, format_size

from ..errors import MemoryLimitError, ModelError
from ..machine import read_processor
from ..model.locate import ModelFile
from ..model.metadata import read_metadata
from ..model.size import Size, check_size
from .providers import Cpu

# int8 files whose sums saturate on processors without VNNI.


def saturation_notes(properties: Mapping[str, str]) -> list[str]:
    """A line where a file's int8 weights are too large for the processor at hand.

    Without VNNI ONNX Runtime adds two products u8 x s8 in a saturating int16. An export states as
    `birefnet.int8_pair_limit` that neighboring weights are small enough for that; version 0.1.0
    had no such weights.

    Args:
        properties: the file's metadata_props.
    """
    is_int8 = properties.get(f"{METADATA_PREFIX}precision") == "int8"
    if not is_int8 or f"{METADATA_PREFIX}int8_pair_limit" in properties:
        return []
    processor = read_processor()
    if "AVX2" not in processor.features or "VNNI" in processor.features:
        return []
    return [
        f"sums of this int8 file saturate on {processor.model}, which lacks VNNI, and masks are "
        "off; export it again (birefnet export --precision int8), or use fp32"
    ]


Memory: TypeAlias = Literal["fast", "balanced", "low"]
"""A setting of sessions on the CPU, from the fastest to the one that takes least memory."""

SETTINGS: dict[Memory, Cpu] = {
    "fast": Cpu(),
    "balanced": Cpu(prepack=False),
    "low": Cpu(prepack=False, arena="one-region", shrink_arena=True),
}
"""The fastest first.

- fast: weights are copied into the layout that kernels like.
- balanced: they are used as they are.
- low: tensors are packed more tightly, too, and what went beyond half a GiB is given back after
  each run.
"""
DEFAULT: Memory = "balanced"

PROGRAM_BYTES = 165e6
"""Python, NumPy, OpenCV, ONNX Runtime and the optimized graph, without weights."""
RUNNING: dict[tuple[Memory, bool], float] = {
    ("fast", False): 1.95, ("balanced", False): 1.15, ("low", False): 1.03,
    ("fast", True): 1.5, ("balanced", True): 1.05, ("low", True): 1.03,
}  # fmt: skip
"""Bytes per byte of weights while the network runs, by setting and whether they lie beside the
graph; what opening took beyond that is given back before the first run."""
OPENING: dict[tuple[Memory, bool], float] = {
    ("fast", False): 1.95, ("balanced", False): 1.3, ("low", False): 1.3,
    ("fast", True): 1.5, ("balanced", True): 1.15, ("low", True): 1.15,
}  # fmt: skip
"""The same while the model is opened."""
PACKING: dict[Memory, float] = {"fast": 1.42, "balanced": 1.42, "low": 1.2}
"""How much more the arena takes than the tensors that live at once."""
PICTURE_BYTES = 220e6
"""Kept free for pictures unless it is known what they take: a photograph of 12 megapixels as PNG or
TIFF."""
SMALLEST_SHARE = 0.5
"""Of the trained side: below it quality falls so far that refusing is kinder."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What is known of the memory that an `.onnx` file needs."""

    weights_bytes: int
    external: bool
    """The weights lie beside the graph and are mapped into memory."""
    bytes_per_pixel: float
    """Of live tensors at their peak, per pixel of the input."""
    trained_size: tuple[int, int]
    size_multiple: int
    fixed: bool = False
    """The network runs at this size and at no other."""
    attention: tuple[float, float] = (0.0, 0.0)
    """Bytes of attention at its peak, per pixel and per squared pixel of an image."""

    def peak_bytes(self, size: tuple[int, int], memory: Memory, batch: int = 1) -> float:
        """An estimate, from above, of the process's resident memory at (height, width) `size`."""
        pixels = size[0] * size[1]
        attention = self.attention[0] * pixels + self.attention[1] * pixels**2
        tensors = batch * max(self.bytes_per_pixel * pixels, attention)
        opening = self.weights_bytes * OPENING[memory, self.external]
        running = self.weights_bytes * RUNNING[memory, self.external]
        running += tensors * PACKING[memory]
        return PROGRAM_BYTES + max(opening, running)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a limit led to."""

    memory: Memory
    size: Size
    """As it was asked for, or smaller."""
    estimate_bytes: float
    note: str | None = None
    """For the user: that the size is smaller than the trained one."""


def stated_footprint(file: ModelFile) -> Footprint | None:
    """What a model says of its memory; None if it says nothing.

    Raises:
        ModelError: the file can't be read.
    """
    try:
        metadata = read_metadata(file.graph.properties)
    except OnnxFileError as error:
        raise ModelError(str(error)) from error
    if metadata.activation_bytes_per_pixel is None:
        return None
    weights_bytes, external = weights_of(file)
    return Footprint(
        weights_bytes,
        external,
        bytes_per_pixel=metadata.activation_bytes_per_pixel,
        trained_size=metadata.trained_size,
        size_multiple=metadata.size_multiple,
        fixed=metadata.fixed,
        attention=metadata.attention_bytes,
    )


def weights_of(file: ModelFile) -> tuple[int, bool]:
    """Bytes of a model's weights, and whether they lie beside the graph.

    Raises:
        ModelError: a file that should lie beside the graph is missing.
    """
    names = file.graph.external_files
    try:
        files = [file.path.parent / name for name in names] or [file.path]
        return sum(each.stat().st_size for each in files), bool(names)
    except OSError as error:
        raise ModelError(f"{file.path}: its weights can't be read: {first_line(error)}") from error


def choose(
    file: ModelFile,
    footprint: Footprint,
    size: Size,
    limit_bytes: float,
    picture_bytes: float | None = 0,
    memory: Memory | None = None,
) -> Choice:
    """The largest size, and there the fastest settings, at which model and pictures fit together.

    A size that was asked for is kept, and so are the settings. Left open, the size is the trained
    one, or smaller and of the same shape, down to half its sides. Where nothing leaves so much for
    pictures, what leaves most is chosen.

    Args:
        file: the model.
        footprint: what is known of its memory.
        size: what was asked for.
        limit_bytes: that the process may take.
        picture_bytes: of those, what pictures need at once; None: `PICTURE_BYTES` if any size
            leaves that, else nothing.
        memory: the settings, if they were asked for.

    Raises:
        MemoryLimitError: the model alone doesn't fit; the message says what would.
        SizeError: the network can't run at `size`.
    """
    settings = SETTINGS if memory is None else (memory,)
    sizes = list(_sizes(footprint, size))
    needs = (PICTURE_BYTES, 0) if picture_bytes is None else (picture_bytes,)
    for needed, fitted, tried in product(needs, sizes, settings):
        if footprint.peak_bytes(fitted, tried) + needed <= limit_bytes:
            return _choice(footprint, size, fitted, tried, limit_bytes)
    least, smallest = memory or "low", sizes[-1]
    taken = footprint.peak_bytes(smallest, least)
    if taken <= limit_bytes:
        return _choice(footprint, size, smallest, least, limit_bytes)
    asked = f" with memory {memory}" if memory else ""
    raise MemoryLimitError(
        f"{file.path} doesn't fit in {format_bytes(limit_bytes)}{asked}: at "
        f"{format_size(smallest)} it takes up to {format_bytes(taken)}; "
        f"{_advice(footprint, smallest, limit_bytes, memory)}"
    )


def _choice(
    footprint: Footprint, size: Size, fitted: tuple[int, int], memory: Memory, limit_bytes: float
) -> Choice:
    estimate = footprint.peak_bytes(fitted, memory)
    if fitted == _full_size(footprint, size):
        return Choice(memory, size, estimate)
    note = (
        f"running at {format_size(fitted)} instead of {format_size(footprint.trained_size)} to "
        f"stay below {format_bytes(limit_bytes)}"
    )
    return Choice(memory, fitted, estimate, note)


def what_fits(footprint: Footprint, size: Size, limit_bytes: float, picture_bytes: float) -> str:
    """What to ask for so that a picture fits that was refused, as the end of a sentence: a smaller
    size where one leaves so much, else a limit."""
    current = _full_size(footprint, size)
    for fitted in _smaller(footprint, current):
        if footprint.peak_bytes(fitted, "low") + picture_bytes <= limit_bytes:
            return f"it fits with --size {_typed(fitted)} and without --memory"
    needed = footprint.peak_bytes(current, "low") + picture_bytes
    return f"it fits with --max-memory {ceil(needed / 1e7) * 10}MB"


def as_bytes(amount: float | str) -> float:
    """A number of bytes, given as one or as text."""
    return parse_bytes(amount) if isinstance(amount, str) else float(amount)


def parse_bytes(text: str) -> float:
    """Read `500KB`, `800MB`, `1GB`, `1.5GiB`, or bytes.

    Raises:
        MemoryLimitError: it is none of them.
    """
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+|[0-9]+\.)\s*(?:([kmgt])(i?)b?|b|)\s*", text.lower())
    value = 0.0
    if found:
        number, prefix, binary = found.groups()
        value = float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix or " ")
    if not 0 < value < float("inf"):
        raise MemoryLimitError(f"{text!r} is not an amount of memory; give 500KB, 1GB or 1.5GiB")
    return value


def _full_size(footprint: Footprint, size: Size) -> tuple[int, int]:
    if size is None or size == "auto":  # auto has at most as many pixels
        return footprint.trained_size
    asked = (size, size) if isinstance(size, int) else size
    return check_size(asked, footprint.size_multiple)


def _sizes(footprint: Footprint, size: Size) -> Iterator[tuple[int, int]]:
    """Sizes to try, the best first."""
    full = _full_size(footprint, size)
    yield full
    if size is None:
        yield from _smaller(footprint, full)


def _smaller(footprint: Footprint, size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Sizes of the same shape below one, the largest first, down to half the trained side."""
    if footprint.fixed:
        return
    multiple = footprint.size_multiple
    least = ceil(max(footprint.trained_size) * SMALLEST_SHARE / multiple)
    for cells in range(max(size) // multiple - 1, least - 1, -1):
        scale = cells * multiple / max(size)
        height, width = (max(1, round(side * scale / multiple)) * multiple for side in size)
        yield height, width


def _typed(size: tuple[int, int]) -> str:
    """A size as `--size` takes it."""
    return str(size[0]) if size[0] == size[1] else format_size(size)


def _advice(
    footprint: Footprint, size: tuple[int, int], limit_bytes: float, memory: Memory | None
) -> str:
    """What would fit in place of (height, width) `size`, which doesn't."""
    if memory not in (None, "low") and footprint.peak_bytes(size, "low") <= limit_bytes:
        return "memory low fits"
    for smaller in _smaller(footprint, size):
        if footprint.peak_bytes(smaller, "low") <= limit_bytes:
            return f"--size {_typed(smaller)} fits" + (
                " with memory low" if memory not in (None, "low") else ""
            )
    return "raise the limit, or take a smaller model"
