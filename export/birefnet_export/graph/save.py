"""A model on disk: one file, or a graph with its weights beside it in `model.onnx_data`.

A model is a protobuf message, and the fields of one may come in any order. So one file is written
from the front to the back without ever being in memory: the graph's nodes, then its weights, copied
from where they lie, and last of all the facts about it, which are appended when they are known.

Weights beside the graph are mapped into memory by ONNX Runtime instead of being read and copied.
The weights inside one file can be mapped, too, by a graph of their own that refers to them as
external data: so a finished file is tried with the memory of its weights alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import onnx
from birefnet_models.base.files import temporary_folder
from birefnet_models.base.hashes import checksums_of, record_checksums
from onnx import GraphProto, ModelProto, TensorProto

from ..errors import GraphError
from .weights import PAGE, Place, WeightsBeside, place_of, put

LARGEST_FILE = (1 << 31) - 1
"""Bytes of a protobuf message, beyond which nothing reads it."""
_PART = 1 << 20
"""Bytes that are copied at a time."""


def data_path(file: Path) -> Path:
    """Where the weights of `file` lie if they are not in it, as on the hub."""
    return file.with_name(file.name + "_data")


def model_files(file: Path) -> list[Path]:
    """A model's files."""
    return [path for path in (file, data_path(file)) if path.exists()]


def write_model(
    model: ModelProto, file: Path, weights: WeightsBeside, *, external_data: bool
) -> ModelProto:
    """Write a model, with those of its `weights` that it uses.

    Returns:
        The graph with its weights as external data in what was written, for `opened_view`.

    Raises:
        GraphError: it is too large for one file.
    """
    with weights.opened() as source:
        if not external_data:
            return _write_one_file(model, file, source)
        view = _write_beside(model, data_path(file), source)
    file.write_bytes(view.SerializeToString())
    return view


@contextmanager
def opened_view(view: ModelProto, file: Path) -> Iterator[Path]:
    """A file that can be opened instead of `file` and maps its weights, gone after the block."""
    written = file.with_name(f"view-of-{file.name}")
    written.write_bytes(view.SerializeToString())
    try:
        yield written
    finally:
        written.unlink()


def append_properties(file: Path, properties: Mapping[str, str]) -> None:
    """Add metadata_props to a model on disk: two messages, one behind the other, are one."""
    added = ModelProto()
    onnx.helper.set_model_props(added, dict(properties))
    with file.open("ab") as stream:
        stream.write(added.SerializeToString())


def _write_beside(model: ModelProto, file: Path, source: BinaryIO) -> ModelProto:
    """Write the weights that the graph uses; returns the graph that refers to them."""
    view = ModelProto()
    view.CopyFrom(model)
    with file.open("wb") as target:
        for tensor in view.graph.initializer:
            if place := place_of(tensor):
                target.seek(-(-target.tell() // PAGE) * PAGE)
                put(tensor, Place(file.name, target.tell(), place.size))
                _copy(source, place, target)
    return view


def _write_one_file(model: ModelProto, file: Path, source: BinaryIO) -> ModelProto:
    """Write the graph without its constants, then each constant with its values.

    ModelProto    everything but the graph
    graph = 7     length
        GraphProto       everything but the constants
        initializer = 5  length    TensorProto without values    raw_data = 9  length  values
        …
    """
    view = ModelProto()
    view.CopyFrom(model)
    around, inside = ModelProto(), GraphProto()
    around.CopyFrom(model)
    around.ClearField("graph")
    inside.CopyFrom(model.graph)
    inside.ClearField("initializer")
    nodes = inside.SerializeToString()
    heads = [_head(tensor) for tensor in model.graph.initializer]
    places = [place_of(tensor) for tensor in model.graph.initializer]
    sizes = [place.size if place else 0 for place in places]
    length = len(nodes) + sum(map(len, heads)) + sum(sizes)
    if length > LARGEST_FILE - (1 << 20):
        raise GraphError(
            f"its weights take {length} bytes, more than one file can hold ({LARGEST_FILE}); write "
            "them beside the graph (--external-data)"
        )
    with file.open("wb") as target:
        target.write(around.SerializeToString() + _field(ModelProto, "graph", length) + nodes)
        for tensor, head, place in zip(view.graph.initializer, heads, places, strict=True):
            target.write(head)
            if place:
                put(tensor, Place(file.name, target.tell(), place.size))
                _copy(source, place, target)
    return view


def _head(tensor: TensorProto) -> bytes:
    """A constant as a field of the graph, up to its values where these lie elsewhere."""
    place = place_of(tensor)
    inside = TensorProto()
    inside.CopyFrom(tensor)
    inside.ClearField("external_data")
    inside.ClearField("data_location")
    content: bytes = inside.SerializeToString()
    size = 0
    if place:
        size = place.size
        content += _field(TensorProto, "raw_data", size)
    return _field(GraphProto, "initializer", len(content) + size) + content


def _field(message: type[ModelProto | GraphProto | TensorProto], name: str, size: int) -> bytes:
    """What stands before the `size` bytes of a field: its number and type (2), and the length."""
    number: int = message.DESCRIPTOR.fields_by_name[name].number
    return _varint(number << 3 | 2) + _varint(size)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    content = bytearray()
    while number > 127:
        content.append(number & 127 | 128)
        number >>= 7
    return bytes([*content, number])


def _copy(source: BinaryIO, place: Place, target: BinaryIO) -> None:
    source.seek(place.start)
    left = place.size
    while left:
        part = source.read(min(left, _PART))
        if not part:
            raise EOFError(f"{place.location} ends within its weights")
        target.write(part)
        left -= len(part)


@contextmanager
def replacing_model(file: Path) -> Iterator[Path]:
    """Yield a path of the same name in a folder of its own; what is there moves to `file`.

    If the block raises, `file` and its weights are what they were. Between the moves there is no
    `file` at all, never a graph with another's weights. The folder's record of checksums follows.
    The folder of an export that was killed is removed by the next one.
    """
    with temporary_folder(file.parent) as folder:
        written = folder / file.name
        yield written
        checksums = checksums_of(model_files(written))
        record_checksums(file.parent, {}, forget=(file.name, data_path(file).name))
        if data_path(written).exists() or data_path(file).exists():
            for old in model_files(file):
                old.unlink()
        for new in reversed(model_files(written)):
            os.replace(new, file.with_name(new.name))
        record_checksums(file.parent, checksums)
