"""What an `.onnx` file says about itself, read without onnx and without loading its weights.

The file is mapped into memory and its protobuf fields are walked; the bytes of a tensor are never
touched. The field numbers are those of `onnx.proto`, which are part of the format and never change.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import NamedTuple

from .errors import OnnxFileError

ELEMENT_TYPES = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"} | {
    2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool"
}  # fmt: skip
"""Names of `TensorProto.DataType`; those of the last ones never reach an image model."""

_KEEP_VALUES = frozenset(
    {"Cast", "Identity", "Reshape", "Resize", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)
"""Operators that move or convert a mask without changing what its values mean."""
_END_IN_UNIT_RANGE = frozenset({"Sigmoid", "HardSigmoid", "Clip"})

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_Span = tuple[int, int]


class Port(NamedTuple):
    """An input or output of the graph."""

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None
    """Fixed sizes and the names of dynamic ones, `?` for one without a name; None: not stated."""


class Node(NamedTuple):
    """One operator."""

    domain: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Weight(NamedTuple):
    """A constant tensor, without its values."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    external: bool
    """Its values lie in a file beside this one."""


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """An ONNX model without its weights' values."""

    path: Path
    ir_version: int
    producer: str
    opsets: Mapping[str, int]
    """By domain; `""` is ONNX's own."""
    inputs: tuple[Port, ...]
    """Those that a caller feeds: constants are left out."""
    outputs: tuple[Port, ...]
    nodes: tuple[Node, ...]
    weights: tuple[Weight, ...]
    properties: Mapping[str, str]

    @property
    def parameters(self) -> int:
        """Elements of all floating-point constants, and of weights that are stored as int8."""
        return sum(
            prod(w.shape)
            for w in self.weights
            if "float" in w.dtype or (w.dtype == "int8" and len(w.shape) > 1)
        )

    def ends_in_mask(self, output: str) -> bool:
        """Whether an output's values come out of a sigmoid or a clip, and so are no logits.

        The operators are followed backwards from the output, through those that keep values.
        """
        makers = {name: node for node in self.nodes for name in node.outputs}
        node = makers.get(output)
        while node is not None and node.op_type in _KEEP_VALUES:
            node = makers.get(node.inputs[0])
        return node is not None and node.op_type in _END_IN_UNIT_RANGE


def read_onnx(path: str | Path) -> OnnxFile:
    """Read an `.onnx` file.

    Raises:
        OnnxFileError: the file can't be read, or is no ONNX model.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as m:
            return _model(path, m)
    except OSError as error:
        raise OnnxFileError(f"{path}: can't be read: {error.strerror}") from error
    except (ValueError, IndexError) as error:  # an empty file, a field that runs past the end
        raise OnnxFileError(f"{path}: is no ONNX model, or a damaged one") from error


def _model(path: Path, m: mmap.mmap) -> OnnxFile:
    graph: _Span | None = None
    version, producer = 0, ""
    opsets: dict[str, int] = {}
    properties: dict[str, str] = {}
    for number, value in _fields(m, (0, len(m))):
        if number == 1 and isinstance(value, int):
            version = value
        elif number == 2 and isinstance(value, tuple):
            producer = _text(m, value)
        elif number == 7 and isinstance(value, tuple):
            graph = value
        elif number == 8 and isinstance(value, tuple):
            entry = dict(_fields(m, value))
            opsets[_text(m, entry.get(1, (0, 0)))] = _int(entry.get(2, 0))
        elif number == 14 and isinstance(value, tuple):
            pair = dict(_fields(m, value))
            properties[_text(m, pair.get(1, (0, 0)))] = _text(m, pair.get(2, (0, 0)))
    if graph is None or not version:
        raise ValueError("no graph")
    inputs: list[Port] = []
    outputs: list[Port] = []
    nodes: list[Node] = []
    weights: list[Weight] = []
    for number, value in _fields(m, graph):
        if not isinstance(value, tuple):
            continue
        if number == 1:
            nodes.append(_node(m, value))
        elif number == 5:
            weights.append(_weight(m, value))
        elif number in (11, 12):
            (inputs if number == 11 else outputs).append(_port(m, value))
    constants = {weight.name for weight in weights}
    return OnnxFile(
        path=path,
        ir_version=version,
        producer=producer,
        opsets=opsets,
        inputs=tuple(port for port in inputs if port.name not in constants),
        outputs=tuple(outputs),
        nodes=tuple(nodes),
        weights=tuple(weights),
        properties=properties,
    )


def _node(m: mmap.mmap, span: _Span) -> Node:
    names: dict[int, list[str]] = {1: [], 2: []}
    op_type = domain = ""
    for number, value in _fields(m, span):
        if number in names:
            names[number].append(_text(m, value))
        elif number == 4:
            op_type = _text(m, value)
        elif number == 7:
            domain = _text(m, value)
    return Node(domain, op_type, tuple(names[1]), tuple(names[2]))


def _weight(m: mmap.mmap, span: _Span) -> Weight:
    shape: list[int] = []
    dtype = name = ""
    external = False
    for number, value in _fields(m, span):
        if number == 1:  # packed by some writers, one by one by others
            shape += [value] if isinstance(value, int) else list(_varints(m, value))
        elif number == 2:
            dtype = _dtype(value)
        elif number == 8:
            name = _text(m, value)
        elif number == 14:
            external = value == 1
    return Weight(name, dtype, tuple(shape), external)


def _port(m: mmap.mmap, span: _Span) -> Port:
    entry = dict(_fields(m, span))
    tensor: dict[int, int | _Span] = {}
    if (kind := entry.get(2)) is not None:
        tensor = dict(_fields(m, _span(dict(_fields(m, _span(kind))).get(1, (0, 0)))))
    shape: list[int | str] | None = None
    if 2 in tensor:
        shape = []
        for _, dim in _fields(m, _span(tensor[2])):
            axis = dict(_fields(m, _span(dim)))
            name = _text(m, axis[2]) if 2 in axis else "?"
            shape.append(_int(axis[1]) if 1 in axis else name)
    dtype = _dtype(tensor[1]) if 1 in tensor else "unknown"
    return Port(_text(m, entry.get(1, (0, 0))), dtype, None if shape is None else tuple(shape))


def _fields(m: mmap.mmap, span: _Span) -> Iterator[tuple[int, int | _Span]]:
    """Number and value of every field of a message: an integer, or where its bytes lie."""
    at, end = span
    while at < end:
        key, at = _varint(m, at, end)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(m, at, end)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(m, at, end)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire}")
        if number == 0 or at + size > end:
            raise ValueError("a field runs past its message")
        yield number, (at, at + size)
        at += size


def _varints(m: mmap.mmap, span: _Span) -> Iterator[int]:
    at, end = span
    while at < end:
        value, at = _varint(m, at, end)
        yield value


def _varint(m: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 64:
        byte = m[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("an integer without an end")


def _span(value: int | _Span) -> _Span:
    if isinstance(value, int):
        raise ValueError("an integer in the place of a message")
    return value


def _int(value: int | _Span) -> int:
    if not isinstance(value, int):
        raise ValueError("a message in the place of an integer")
    return value


def _text(m: mmap.mmap, value: int | _Span) -> str:
    at, end = _span(value)
    return m[at:end].decode("utf-8")


def _dtype(value: int | _Span) -> str:
    number = _int(value)
    return ELEMENT_TYPES.get(number, f"type {number}")
