"""Files of safetensors: a JSON header that says where each tensor lies, and the tensors.

    8 bytes     length of the header, little-endian
    header      {"bb.norm0.bias": {"dtype": "BF16", "shape": [96], "data_offsets": [0, 192]}, …}
    tensors     one behind the other, little-endian

The format's own library checks all of it: the header, sizes against shapes, gaps. Its NumPy side
knows neither bfloat16 nor the types of eight bits, so values are read by the offsets.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from birefnet_models.base.text import first_line
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ..errors import CheckpointError
from . import dtypes
from .dtypes import Dtype
from .file_parts import FileParts
from .state_dict import StoredTensor

_DTYPES = {
    "F64": dtypes.FLOAT64,
    "F32": dtypes.FLOAT32,
    "F16": dtypes.FLOAT16,
    "BF16": dtypes.BFLOAT16,
    "F8_E4M3": dtypes.FLOAT8_E4M3FN,
    "F8_E5M2": dtypes.FLOAT8_E5M2,
    "I64": dtypes.INT64,
    "I32": dtypes.INT32,
    "I16": dtypes.INT16,
    "I8": dtypes.INT8,
    "U8": dtypes.UINT8,
    "BOOL": dtypes.BOOL,
}
_LENGTH = 8
"""Bytes that say how long the header is."""


def read_safetensors(file: Path) -> dict[str, StoredTensor]:
    """The tensors of a file by name; their values stay on disk.

    Raises:
        CheckpointError: the file is damaged, or holds tensors of a type that no BiRefNet has.
    """
    with _damage_explained():
        with safe_open(file, framework="np"):
            pass  # the library has checked the header and all sizes
        parts = FileParts(file)
        (length,) = struct.unpack("<Q", parts.read(0, _LENGTH).data)
        header = json.loads(parts.read(_LENGTH, length).tobytes())
        header.pop("__metadata__", None)
        return {name: _stored(parts, _LENGTH + length, **entry) for name, entry in header.items()}


def _stored(
    file: FileParts, behind: int, dtype: str, shape: list[int], data_offsets: tuple[int, int]
) -> StoredTensor:
    """A tensor of the header; `behind` it the tensors begin."""
    if (kind := _DTYPES.get(dtype)) is None:
        raise CheckpointError(f"holds tensors of type {dtype}, which no BiRefNet has")
    if data_offsets[1] - data_offsets[0] != prod(shape) * kind.itemsize:
        raise ValueError(f"a tensor of shape {shape} has another size")
    start = behind + data_offsets[0]
    return StoredTensor(kind, tuple(shape), partial(_values, file, start, kind, tuple(shape)))


def _values(file: FileParts, start: int, dtype: Dtype, shape: tuple[int, ...]) -> NDArray[Any]:
    with _damage_explained():
        content = file.read(start, prod(shape) * dtype.itemsize)
        return dtype.values(content.view(dtype.bits).reshape(shape))


@contextmanager
def _damage_explained() -> Iterator[None]:
    try:
        yield
    except (
        *(SafetensorError, OSError, EOFError, ValueError, OverflowError, MemoryError),
        *(struct.error, TypeError, RecursionError),
    ) as error:
        raise CheckpointError(f"is a damaged safetensors file: {first_line(error)}") from error
