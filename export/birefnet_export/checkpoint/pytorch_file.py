"""Files of `torch.save`, read as data: nothing that is pickled in them is imported or called.

Today's files are zip archives: pickled objects in `data.pkl`, and the bytes of every storage beside
it. Those of torch before 1.6 are pickles one after the other, followed by the storages. Sizes are
checked before anything of that size is read; values stay on disk until they are asked for.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from birefnet_models.base.text import first_line

from ..errors import CheckpointError
from .file_parts import FileParts
from .pytorch_pickle import Bounded, ByteArray, Storage, Unpickler

_MOST_PICKLED = 32 << 20
"""Bytes of pickle: half of it names and describes 100,000 tensors."""
_MOST_EXPANSION = 4
"""How many times its size an archive may unpack to; weights are noise, which hardly compresses."""
_SMALL = 16 << 20
"""Bytes that any archive may unpack to."""
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
"""What files of torch before 1.6 begin with."""
_LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Of an entry in a zip archive: signature, and the lengths of its name and of what follows it."""


def read_pytorch(file: Path) -> Any:
    """The objects in a file: dicts, lists, numbers and text, with `StoredTensor` for tensors.

    Raises:
        CheckpointError: the file is damaged, unpacks to far more than its size, or calls code.
    """
    with _damage_explained():
        with file.open("rb") as stream:
            is_archive = stream.read(2) == b"PK"
        return _read_archive(file) if is_archive else _read_sequence(file)


@contextmanager
def _damage_explained() -> Iterator[None]:
    try:
        yield
    except (
        *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError),
        *(NotImplementedError, OSError, RecursionError, RuntimeError, TypeError, ValueError),
        *(pickle.UnpicklingError, struct.error, zipfile.BadZipFile, zlib.error),
    ) as error:  # what the standard library raises over wrong bytes
        raise CheckpointError(f"is a damaged PyTorch checkpoint: {first_line(error)}") from error


def _read_archive(file: Path) -> Any:
    parts = FileParts(file)
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        folder = _folder(entries, parts.size)
        order = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in entries else b"little"
        if order != b"little":
            raise CheckpointError(f"stores its values in the byte order {order[:20]!r}, not little")
        pickled = archive.read(f"{folder}data.pkl")
    storages = _ZippedStorages(parts, entries, f"{folder}data/")
    return Unpickler(io.BytesIO(pickled), storages.read).load()


def _folder(entries: Mapping[str, zipfile.ZipInfo], packed: int) -> str:
    """What the names of a checkpoint's entries begin with, if it is one and of a sound size."""
    pickles = [name for name in entries if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if len(pickles) != 1:
        raise CheckpointError("is a zip archive without the data.pkl of a PyTorch checkpoint")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in entries:
        raise CheckpointError("is a TorchScript module; save its state_dict() alone")
    unpacked = sum(entry.file_size for entry in entries.values())
    pickled = entries[pickles[0]].file_size
    if unpacked > max(_MOST_EXPANSION * packed, _SMALL) or pickled > _MOST_PICKLED:
        raise CheckpointError(
            f"unpacks from {packed} to {unpacked} bytes, which weights do not; it is refused "
            "before it fills the memory"
        )
    return folder


class _ZippedStorages:
    """Storages as entries of an archive, stored as they are as a rule, or deflated."""

    def __init__(
        self, file: FileParts, entries: Mapping[str, zipfile.ZipInfo], folder: str
    ) -> None:
        self._file = file
        self._entries = entries
        self._folder = folder
        self._checked: set[str] = set()

    def read(self, storage: Storage, start: int, size: int) -> ByteArray:
        """Read some bytes of a storage; at its first use all of it is compared with its CRC."""
        with _damage_explained():
            entry = self._entries[f"{self._folder}{storage.key}"]
            _check_size(storage, entry.file_size)
            if storage.key in self._checked and entry.compress_type == zipfile.ZIP_STORED:
                return self._file.read(self._place(entry) + start, size)
            content = self._unpacked(entry)
            if zlib.crc32(content.data) != entry.CRC:
                raise ValueError(f"the CRC-32 of {entry.filename} is another")
            self._checked.add(storage.key)
            return content[start : start + size]

    def _unpacked(self, entry: zipfile.ZipInfo) -> ByteArray:
        content = self._file.read(self._place(entry), entry.compress_size)
        if entry.compress_type == zipfile.ZIP_DEFLATED:
            plain = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content.data, entry.file_size)
            content = np.frombuffer(plain, np.uint8)
        if content.size != entry.file_size:
            raise ValueError(f"{entry.filename} unpacks to {content.size} bytes")
        return content

    def _place(self, entry: zipfile.ZipInfo) -> int:
        """Where the bytes of an entry begin in the file."""
        header = self._file.read(entry.header_offset, _LOCAL_HEADER.size)
        signature, name, extra = _LOCAL_HEADER.unpack(header.data)
        if signature != b"PK\x03\x04":
            raise ValueError(f"{entry.filename} is not where it should be")
        return entry.header_offset + _LOCAL_HEADER.size + int(name) + int(extra)


def _read_sequence(file: Path) -> Any:
    """A file of torch before 1.6: magic number, protocol, system, objects, keys; then storages."""
    parts = FileParts(file)
    places: dict[str, tuple[int, int]] = {}

    def read(storage: Storage, start: int, size: int) -> ByteArray:
        with _damage_explained():
            place, whole = places[storage.key]
            _check_size(storage, whole)
            return parts.read(place + start, size)

    with file.open("rb") as stream:
        unpickler = Unpickler(Bounded(stream, _MOST_PICKLED), read)
        if unpickler.load() != _MAGIC_NUMBER:
            raise CheckpointError("is a damaged PyTorch checkpoint, or a pickle of something else")
        _protocol, _system, objects, keys = (unpickler.load() for _ in range(4))
        for key in keys:
            (count,) = struct.unpack("<Q", stream.read(8))
            size = count * unpickler.item_sizes[key]
            places[key] = (stream.tell(), size)
            stream.seek(size, io.SEEK_CUR)
        if stream.tell() > parts.size:
            raise EOFError("the file ends within its tensors")
    return objects


def _check_size(storage: Storage, size: int) -> None:
    if size != storage.size:
        raise CheckpointError("is a damaged PyTorch checkpoint: a storage has another size")
