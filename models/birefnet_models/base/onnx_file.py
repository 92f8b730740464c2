"""What an `.onnx` file says about itself, read without onnx and without loading its weights.

The file is mapped into memory and its protobuf fields are walked; the bytes of a tensor are never
touched.
"""

from __future__ import annotations

import mmap
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from math import prod
from pathlib import Path
from typing import NamedTuple

from .errors import OnnxFileError
from .files import head_of, stand_in

_FIELDS = {
    "ModelProto": {
        1: "ir_version",
        2: "producer_name",
        7: "graph",
        8: "opset_import",
        14: "metadata_props",
    },
    "OperatorSetIdProto": {1: "domain", 2: "version"},
    "StringStringEntryProto": {1: "key", 2: "value"},
    "GraphProto": {1: "node", 5: "initializer", 11: "input", 12: "output"},
    "NodeProto": {1: "input", 2: "output", 4: "op_type", 7: "domain"},
    "TensorProto": {
        1: "dims",
        2: "data_type",
        8: "name",
        13: "external_data",
        14: "data_location",
    },
    "ValueInfoProto": {1: "name", 2: "type"},
    "TypeProto": {1: "tensor_type"},
    "TypeProto.Tensor": {1: "elem_type", 2: "shape"},
    "TensorShapeProto": {1: "dim"},
    "TensorShapeProto.Dimension": {1: "dim_value", 2: "dim_param"},
}
"""The messages and fields of `onnx.proto` that are read, by their numbers there, which are part of
the format and never change."""
_MOST_VALUES = 2_000_000
"""Fields and integers of a file; the graph of the largest BiRefNet has 100,000."""
_LARGEST = (1 << 64) - 1
_EXTERNAL = 1
"""`TensorProto.DataLocation.EXTERNAL`."""
_DATA_TYPES = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"} | {
    2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool"
}  # fmt: skip
"""Names of `TensorProto.DataType`; the ones left out never reach an image model."""

_KEEP_VALUES = frozenset(
    {"Cast", "Identity", "Reshape", "Resize", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)
"""Operators that move or convert a mask without changing what its values mean."""
_END_IN_UNIT_RANGE = frozenset({"Sigmoid", "HardSigmoid", "Clip"})


class ValueInfo(NamedTuple):
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


class Initializer(NamedTuple):
    """A constant tensor, without its values."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    external: bool
    """Its values lie in a file beside this one."""
    location: str = ""
    """The name of that file, as it is written there: nothing says that it leads nowhere else."""


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """An ONNX model without its weights' values."""

    path: Path
    ir_version: int
    producer: str
    opsets: Mapping[str, int]
    """By domain; `""` is ONNX's own."""
    inputs: tuple[ValueInfo, ...]
    """Those that a caller feeds: constants are left out."""
    outputs: tuple[ValueInfo, ...]
    nodes: tuple[Node, ...]
    weights: tuple[Initializer, ...]
    properties: Mapping[str, str]

    @property
    def parameters(self) -> int:
        """Elements of all floating-point constants, and of weights that are stored as int8."""
        return sum(
            prod(w.shape)
            for w in self.weights
            if "float" in w.dtype or (w.dtype == "int8" and len(w.shape) > 1)
        )

    @property
    def external_files(self) -> tuple[str, ...]:
        """Names of the files beside this one that hold weights, each once, as they are written."""
        return tuple(dict.fromkeys(weight.location for weight in self.weights if weight.external))

    def ends_in_mask(self, output: str) -> bool:
        """Whether an output's values come out of a sigmoid or a clip, and so are no logits.

        The operators are followed backwards from the output, through those that keep values.
        """
        makers = {name: node for node in self.nodes for name in node.outputs}
        for _ in self.nodes:  # and no further, where a damaged graph runs in a circle
            node = makers.get(output)
            if node is None or node.op_type not in _KEEP_VALUES or not node.inputs:
                return node is not None and node.op_type in _END_IN_UNIT_RANGE
            output = node.inputs[0]
        return False


def read_onnx(path: str | Path) -> OnnxFile:
    """Read an `.onnx` file.

    Raises:
        OnnxFileError: the file can't be read, or is not an ONNX model.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise OnnxFileError(f"{path}: is not a regular file")  # opening a pipe would wait
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as m:
            return _onnx_file(path, _Message(_Wire(m), (0, len(m)), "ModelProto"))
    except OSError as error:
        raise OnnxFileError(f"{path}: can't be read: {error.strerror}") from error
    except ValueError as error:  # an empty file, a field that runs past the end
        what = stand_in(head_of(path)) or "is not an ONNX model, or a damaged one"
        raise OnnxFileError(f"{path}: {what}") from error


def _onnx_file(path: Path, model: _Message) -> OnnxFile:
    graphs = list(model.messages("graph", "GraphProto"))
    version = model.integer("ir_version")
    if not graphs or not version:
        raise ValueError("no graph")
    graph = graphs[-1]
    weights = tuple(map(_initializer, graph.messages("initializer", "TensorProto")))
    constants = {weight.name for weight in weights}
    inputs = map(_value_info, graph.messages("input", "ValueInfoProto"))
    opsets = model.messages("opset_import", "OperatorSetIdProto")
    properties = model.messages("metadata_props", "StringStringEntryProto")
    return OnnxFile(
        path=path,
        ir_version=version,
        producer=model.text("producer_name"),
        opsets={entry.text("domain"): entry.integer("version") for entry in opsets},
        inputs=tuple(value for value in inputs if value.name not in constants),
        outputs=tuple(map(_value_info, graph.messages("output", "ValueInfoProto"))),
        nodes=tuple(map(_node, graph.messages("node", "NodeProto"))),
        weights=weights,
        properties={entry.text("key"): entry.text("value") for entry in properties},
    )


def _node(node: _Message) -> Node:
    return Node(
        node.text("domain"),
        node.text("op_type"),
        tuple(node.texts("input")),
        tuple(node.texts("output")),
    )


def _initializer(tensor: _Message) -> Initializer:
    external = tensor.integer("data_location") == _EXTERNAL
    entries = tensor.messages("external_data", "StringStringEntryProto") if external else ()
    places = [entry.text("value") for entry in entries if entry.text("key") == "location"]
    return Initializer(
        tensor.text("name"),
        _dtype(tensor.integer("data_type")),
        tuple(tensor.integers("dims")),
        external,
        places[-1] if places else "",
    )


def _value_info(value: _Message) -> ValueInfo:
    shape: tuple[int | str, ...] | None = None
    dtype = "unknown"
    for kind in value.messages("type", "TypeProto"):
        for tensor in kind.messages("tensor_type", "TypeProto.Tensor"):
            if tensor.has("elem_type"):
                dtype = _dtype(tensor.integer("elem_type"))
            for stated in tensor.messages("shape", "TensorShapeProto"):
                shape = tuple(
                    axis.integer("dim_value")
                    if axis.has("dim_value")
                    else axis.text("dim_param") or "?"
                    for axis in stated.messages("dim", "TensorShapeProto.Dimension")
                )
    return ValueInfo(value.text("name"), dtype, shape)


def _dtype(number: int) -> str:
    return _DATA_TYPES.get(number, f"type {number}")


class _WireType(IntEnum):
    """How a field's value is stored, by protobuf's encoding."""

    VARINT = 0
    FIXED_64 = 1
    BYTES = 2
    FIXED_32 = 5


_Span = tuple[int, int]
"""Where bytes begin and end in the file."""


class _Message:
    """One protobuf message: the values of its named fields, integers or where their bytes lie.

    Raises:
        ValueError: the bytes are no message, or a value is of another kind than is asked for.
    """

    def __init__(self, wire: _Wire, span: _Span, kind: str) -> None:
        self._wire = wire
        self._values: dict[str, list[int | _Span]] = {}
        for number, value in wire.fields(span):
            if name := _FIELDS[kind].get(number):
                self._values.setdefault(name, []).append(value)

    def has(self, name: str) -> bool:
        return name in self._values

    def integer(self, name: str) -> int:
        """The last value of a field, as protobuf has it; 0 where there is none."""
        return [0, *self.integers(name)][-1]

    def integers(self, name: str) -> Iterator[int]:
        """All values of an int64 field, packed by some writers, one by one by others."""
        for value in self._values.get(name, ()):
            for number in (value,) if isinstance(value, int) else self._wire.varints(value):
                yield number - (1 << 64) if number >> 63 else number

    def text(self, name: str) -> str:
        """The last value of a field; empty where there is none."""
        return ["", *self.texts(name)][-1]

    def texts(self, name: str) -> Iterator[str]:
        for at, end in self._spans(name):
            yield self._wire.data[at:end].decode("utf-8")

    def messages(self, name: str, kind: str) -> Iterator[_Message]:
        for span in self._spans(name):
            yield _Message(self._wire, span, kind)

    def _spans(self, name: str) -> Iterator[_Span]:
        for value in self._values.get(name, ()):
            if isinstance(value, int):
                raise ValueError(f"an integer in the place of {name}")
            yield value


class _Wire:
    """Protobuf's encoding: fields and integers among bytes, as many as a model may have."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self._left = _MOST_VALUES

    def fields(self, span: _Span) -> Iterator[tuple[int, int | _Span]]:
        """The number of each field in a message, with an integer or where its bytes lie."""
        at, end = span
        while at < end:
            key, at = self._varint(at, end)
            number, wire_type = key >> 3, key & 7
            if number == 0:
                raise ValueError("a field without a number")
            if wire_type == _WireType.VARINT:
                value, at = self._varint(at, end)
                yield number, value
                continue
            if wire_type == _WireType.BYTES:
                size, at = self._varint(at, end)
            elif wire_type in (_WireType.FIXED_32, _WireType.FIXED_64):
                size = 4 if wire_type == _WireType.FIXED_32 else 8
            else:
                raise ValueError(f"wire type {wire_type}")
            if at + size > end:
                raise ValueError("a field runs past its message")
            yield number, (at, at + size)
            at += size

    def varints(self, span: _Span) -> Iterator[int]:
        at, end = span
        while at < end:
            value, at = self._varint(at, end)
            yield value

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """An integer of up to ten bytes, and where the next value begins."""
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"more than {_MOST_VALUES} values")
        value = shift = 0
        while at < end and shift < 64:
            byte = self.data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value & _LARGEST, at
            shift += 7
        raise ValueError("an integer without an end")
