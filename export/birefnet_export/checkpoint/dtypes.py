"""The types that tensors of checkpoints are stored in, those that NumPy has no name for among them.

bfloat16 is the upper half of a float32. Of the two types of eight bits (arXiv 2209.05433), e5m2 is
the upper half of a float16; e4m3fn has a bias of 7, no infinity, and one NaN for each sign. All are
decoded exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Dtype:
    """How values are stored."""

    name: str
    """As PyTorch and NumPy call it: `bfloat16`."""
    bits: np.dtype[Any]
    """NumPy's type of the same size, little-endian: of the values, or of the bits to be decoded."""
    decoded: Callable[[Array], Array] | None = None
    """From bits to float32; None where `bits` is the type itself."""

    @property
    def itemsize(self) -> int:
        """Bytes of one value."""
        return self.bits.itemsize

    @property
    def is_floating(self) -> bool:
        """Whether it is a floating-point type."""
        return "float" in self.name

    def values(self, content: Array) -> Array:
        """The values of an array of `bits`: in the type itself, or in float32."""
        return content if self.decoded is None else self.decoded(content)


def _upper_half_of_float32(bits: Array) -> Array:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _upper_half_of_float16(bits: Array) -> Array:
    return (bits.astype(np.uint16) << 8).view(np.float16).astype(np.float32)


def _e4m3fn(bits: Array) -> Array:
    return np.asarray(_E4M3FN[bits])


def _e4m3fn_table() -> NDArray[np.float32]:
    """The value of each code: float32 (256,)."""
    codes = np.arange(128)
    exponent, fraction = codes >> 3, codes & 7
    normal = (8 + fraction) * 2.0 ** (exponent - 10)
    positive = np.where(exponent > 0, normal, fraction * 2.0**-9)
    positive[127] = np.nan
    return np.asarray(np.concatenate((positive, -positive)), np.float32)


_E4M3FN = _e4m3fn_table()


def _native(name: str) -> Dtype:
    return Dtype(name, np.dtype(name).newbyteorder("<"))


FLOAT64 = _native("float64")
FLOAT32 = _native("float32")
FLOAT16 = _native("float16")
BFLOAT16 = Dtype("bfloat16", np.dtype("<u2"), _upper_half_of_float32)
FLOAT8_E4M3FN = Dtype("float8_e4m3fn", np.dtype("u1"), _e4m3fn)
FLOAT8_E5M2 = Dtype("float8_e5m2", np.dtype("u1"), _upper_half_of_float16)
INT64 = _native("int64")
INT32 = _native("int32")
INT16 = _native("int16")
INT8 = _native("int8")
UINT8 = _native("uint8")
BOOL = _native("bool")
