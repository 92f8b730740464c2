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
from birefnet_models.base.text import format_bytes, format_size

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
        "off; export it anew (birefnet export --precision int8), or use fp32"
    ]


Memory: TypeAlias = Literal["fast", "balanced", "low"]

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

PROGRAM_BYTES = 185e6
"""Python, NumPy, OpenCV, ONNX Runtime and the optimized graph, without weights."""
WEIGHTS: dict[tuple[Memory, bool], float] = {
    ("fast", False): 1.9, ("balanced", False): 1.15, ("low", False): 1.15,
    ("fast", True): 1.5, ("balanced", True): 1.05, ("low", True): 1.05,
}  # fmt: skip
"""Bytes per byte of weights, by setting and whether they lie beside the graph."""
PACKING: dict[Memory, float] = {"fast": 1.4, "balanced": 1.4, "low": 1.3}
"""How much more the arena takes than the tensors that live at once."""
PICTURE_BYTES = 220e6
"""Left for pictures where the limit allows it: a photograph of 12 megapixels as PNG or TIFF."""
SMALLEST_SHARE = 0.5
"""Of the trained side: below it quality falls so far that refusing is kinder."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What an `.onnx` file says of the memory that it needs."""

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
        weights = self.weights_bytes * WEIGHTS[memory, self.external]
        return PROGRAM_BYTES + weights + tensors * PACKING[memory]


@dataclass(frozen=True, slots=True)
class Choice:
    """What a limit led to."""

    memory: Memory
    size: Size
    """As it was asked for, or smaller."""
    estimate_bytes: float
    note: str | None = None
    """For the user: that the size is smaller than the trained one."""


def read_footprint(file: ModelFile) -> Footprint:
    """Read what a model says of its memory.

    Raises:
        ModelError: the file can't be read, or says nothing of it.
    """
    try:
        metadata = read_metadata(file.graph.properties)
    except OnnxFileError as error:
        raise ModelError(str(error)) from error
    path = file.path
    if metadata.activation_bytes_per_pixel is None:
        raise ModelError(
            f"{path}: the file doesn't say how much memory it needs, so no limit can be kept; "
            "export it with `birefnet export`"
        )
    beside = path.with_name(path.name + "_data")
    external = beside.is_file()
    return Footprint(
        weights_bytes=(beside if external else path).stat().st_size,
        external=external,
        bytes_per_pixel=metadata.activation_bytes_per_pixel,
        trained_size=metadata.trained_size,
        size_multiple=metadata.size_multiple,
        fixed=metadata.fixed,
        attention=metadata.attention_bytes,
    )


def choose(
    file: ModelFile,
    size: Size,
    limit_bytes: float,
    room_bytes: float = 0,
    memory: Memory | None = None,
) -> Choice:
    """The fastest settings under which the model stays below the limit.

    With room for pictures, or, where nothing leaves that, without. A size that was asked for is
    kept, and so are the settings. Left open, the size is the trained one, or, if nothing fits
    that, the largest of the same shape down to half its sides.

    Raises:
        MemoryLimitError: nothing fits; the message says what would.
        ModelError: as `read_footprint`.
        SizeError: the network can't run at `size`.
    """
    footprint = read_footprint(file)
    settings = SETTINGS if memory is None else (memory,)
    for room, fitted, tried in product((room_bytes, 0), _sizes(footprint, size), settings):
        estimate = footprint.peak_bytes(fitted, tried)
        if estimate + room <= limit_bytes:
            if fitted == _full_size(footprint, size):
                return Choice(tried, size, estimate)
            note = (
                f"running at {format_size(fitted)} instead of "
                f"{format_size(footprint.trained_size)} to stay below {format_bytes(limit_bytes)}"
            )
            return Choice(tried, fitted, estimate, note)
    least = footprint.peak_bytes(fitted, memory or "low")
    asked = f" with memory {memory}" if memory else ""
    low = "memory low or " if memory not in (None, "low") else ""
    raise MemoryLimitError(
        f"{file.path} doesn't fit in {format_bytes(limit_bytes)}{asked}: at {format_size(fitted)} "
        f"it takes up to {format_bytes(least)}; {low}{_advice(footprint)}"
    )


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
    if size is not None or footprint.fixed:
        return
    multiple = footprint.size_multiple
    longest = max(full) // multiple
    for cells in range(longest - 1, ceil(longest * SMALLEST_SHARE) - 1, -1):
        scale = cells * multiple / max(full)
        height, width = (max(1, round(side * scale / multiple)) * multiple for side in full)
        yield height, width


def _advice(footprint: Footprint) -> str:
    if not footprint.external:
        return "an export with --external-data and --lowering rows takes less"
    return "a smaller --size or a smaller model takes less"
