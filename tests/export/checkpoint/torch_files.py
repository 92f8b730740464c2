"""Files as `torch.save` writes them, written without torch, for the reader's tests.

`test_pytorch_file_real.py` has torch itself write and read them.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C


class Global:
    """A function or class of torch, by name."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self) -> None:
        """To be taken for a function by the pickler."""


class Storage:
    """Values in a row; `kind` is torch's class of them."""

    def __init__(self, values: np.ndarray, kind: str) -> None:
        self.content = np.ascontiguousarray(values).tobytes()
        self.count, self.kind = values.size, kind


class Tensor:
    """A view of a storage; strides count values. With `dtype`, as torch saves types without a
    storage class."""

    def __init__(
        self,
        storage: Storage,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        offset: int = 0,
        dtype: str | None = None,
    ) -> None:
        self.storage, self.shape, self.strides, self.offset = storage, shape, strides, offset
        self.dtype = dtype

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = (self.storage, self.offset, self.shape, self.strides, False, OrderedDict())
        if self.dtype is None:
            return Global("torch._utils", "_rebuild_tensor_v2"), arguments
        rebuild = Global("torch._utils", "_rebuild_tensor_v3")
        return rebuild, (*arguments, Global("torch", self.dtype))


class Parameter:
    def __init__(self, data: Tensor) -> None:
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild = Global("torch._utils", "_rebuild_parameter")
        return rebuild, (self.data, True, OrderedDict())


STORAGES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}


def tensor(values: Any, kind: str | None = None, dtype: str | None = None) -> Tensor:
    """A tensor of its own; `kind` for bits that NumPy has no type for."""
    values = np.asarray(values)
    storage = Storage(values, kind or STORAGES[values.dtype.name])
    strides = np.cumprod([1, *values.shape[:0:-1]])[::-1].tolist() if values.ndim else []
    return Tensor(storage, values.shape, tuple(strides), dtype=dtype)


class Pickler(pickle._Pickler):
    """Storages are written beside the pickle, and torch's names without looking them up."""

    def __init__(self, stream: io.BytesIO, protocol: int, ends: tuple[Any, ...]) -> None:
        super().__init__(stream, protocol)
        self.ends = ends
        self.storages: list[Storage] = []

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, Storage):
            return None
        if value not in self.storages:
            self.storages.append(value)
        key = str(self.storages.index(value))
        return "storage", Global("torch", value.kind), key, "cpu", value.count, *self.ends

    def save(self, value: Any, save_persistent_id: bool = True) -> None:
        if not isinstance(value, Global):
            super().save(value, save_persistent_id)
        elif self.proto >= 4:
            super().save(value.module)
            super().save(value.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())


def pickled(content: Any, protocol: int, ends: tuple[Any, ...] = ()) -> tuple[bytes, list[Storage]]:
    stream = io.BytesIO()
    pickler = Pickler(stream, protocol, ends)
    pickler.dump(content)
    return stream.getvalue(), pickler.storages


def zipped(content: Any, protocol: int = 2, how: int = zipfile.ZIP_STORED) -> bytes:
    """As torch saves since 1.6; `how` the archive is compressed."""
    objects, storages = pickled(content, protocol)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        archive.writestr("archive/data.pkl", objects)
        archive.writestr("archive/byteorder", "little")
        for key, storage in enumerate(storages):
            archive.writestr(f"archive/data/{key}", storage.content)
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def in_sequence(content: Any, protocol: int = 2) -> bytes:
    """As torch saved before 1.6."""
    objects, storages = pickled(content, protocol, (None,))
    system = {"protocol_version": 1001, "little_endian": True}
    keys = [str(key) for key in range(len(storages))]
    parts = [pickle.dumps(part, protocol) for part in (MAGIC_NUMBER, 1001, system)]
    parts += [objects, pickle.dumps(keys, protocol)]
    parts += [struct.pack("<Q", s.count) + s.content for s in storages]
    return b"".join(parts)


def saved(content: Any, file: Path, protocol: int = 2, *, sequence: bool = False) -> Path:
    file.write_bytes((in_sequence if sequence else zipped)(content, protocol))
    return file
