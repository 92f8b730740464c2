"""Which shared libraries an ELF file asks for: the NEEDED entries that `readelf -d` shows.

The dynamic linker names only the first library that it misses; read from the file, all have names.
Layout: System V gABI, chapters "ELF Header", "Program Header" and "Dynamic Section".
"""

import mmap
import struct
from pathlib import Path

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_DYNAMIC = struct.Struct("<QQ")
_LOAD, _DYNAMIC_SEGMENT = 1, 2
_NEEDED, _STRING_TABLE = 1, 5


def needed(path: Path) -> tuple[str, ...]:
    """The libraries that a little-endian 64-bit ELF file names; none for any other file."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _needed(data)
    except (OSError, ValueError, struct.error):
        return ()


def _needed(data: mmap.mmap) -> tuple[str, ...]:
    header = _HEADER.unpack_from(data)
    if header[0][:6] != b"\x7fELF\x02\x01":
        return ()
    start, size, number = header[5], header[9], header[10]
    segments = [_PROGRAM.unpack_from(data, start + i * size) for i in range(number)]
    entries = [
        entry
        for kind, _, offset, *_, length, _, _ in segments
        if kind == _DYNAMIC_SEGMENT
        for entry in _DYNAMIC.iter_unpack(data[offset : offset + length])
    ]
    tables = [_file_offset(segments, value) for tag, value in entries if tag == _STRING_TABLE]
    return tuple(
        data[tables[0] + value : data.find(b"\0", tables[0] + value)].decode()
        for tag, value in entries
        if tag == _NEEDED
    )


def _file_offset(segments: list[tuple[int, ...]], address: int) -> int:
    for kind, _, offset, virtual, _, length, _, _ in segments:
        if kind == _LOAD and virtual <= address < virtual + length:
            return offset + address - virtual
    raise ValueError(f"address {address} lies in no segment")
