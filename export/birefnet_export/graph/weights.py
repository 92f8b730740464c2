"""Where the weights of a graph are while it is built: in it, or in a file beside it.

Weights beside the graph leave memory as soon as they are known. The graph then holds ONNX's own
references to them (external data), and is small enough to be checked, copied and rewritten freely.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Protocol, Self

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]

INLINE_BYTES = 1024
"""Bytes below which a tensor stays in the graph: shapes and scalars, which inference reads."""
PAGE = 4096
"""Weights begin at a multiple of so many bytes, so that they can be mapped into memory."""


def digest_of(values: Array) -> bytes:
    """The same for arrays of the same type, shape and values alone."""
    digest = sha256(f"{values.dtype}{values.shape}".encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.digest()


class WeightStore(Protocol):
    """Keeps the values of a graph's constants."""

    def tensor(self, name: str, values: Array, digest: bytes | None = None) -> TensorProto:
        """A constant of this name for the graph, its values kept; `digest` is `digest_of` them."""
        ...

    def array(self, tensor: TensorProto) -> Array:
        """The values of a constant that was made by `tensor`."""
        ...

    def file_of(self, model: onnx.ModelProto) -> AbstractContextManager[Path]:
        """Context manager: a model whose weights are kept here as a file, gone after the block."""
        ...


class WeightsInGraph:
    """Values as part of the graph, for small ones."""

    def tensor(self, name: str, values: Array, digest: bytes | None = None) -> TensorProto:
        return numpy_helper.from_array(values, name)

    def array(self, tensor: TensorProto) -> Array:
        return numpy_helper.to_array(tensor)

    @contextmanager
    def file_of(self, model: onnx.ModelProto) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "model.onnx")
            onnx.save(model, file)
            yield file


class WeightsBeside:
    """Values in a file, appended as they come; what is the same is there once.

    with WeightsBeside(folder / "weights") as weights:
        tensor = weights.tensor("proj", values)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream = path.open("w+b")
        self._places: dict[bytes, int] = {}
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()

    def tensor(self, name: str, values: Array, digest: bytes | None = None) -> TensorProto:
        """A constant for the graph; from `INLINE_BYTES` bytes on its values go to the file."""
        if values.nbytes < INLINE_BYTES:
            return numpy_helper.from_array(values, name)
        digest = digest or digest_of(values)
        if digest not in self._places:
            start = -(-self._end // PAGE) * PAGE
            self._stream.seek(start)
            self._stream.write(np.ascontiguousarray(values).data)
            self._places[digest] = start
            self._end = start + values.nbytes
        kind = helper.np_dtype_to_tensor_dtype(values.dtype)
        tensor = TensorProto(name=name, data_type=kind, dims=values.shape)
        put(tensor, Place(self.path.name, self._places[digest], values.nbytes))
        return tensor

    def array(self, tensor: TensorProto) -> Array:
        """The values of a constant, read from the file where they are in it."""
        place = place_of(tensor)
        if place is None:
            return numpy_helper.to_array(tensor)
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        values = np.empty(tuple(tensor.dims), dtype)
        self._stream.seek(place.start)
        self._stream.readinto(values.data.cast("B"))
        return values

    def opened(self) -> BinaryIO:
        """The file with all values so far, to be read and closed by the caller."""
        self._stream.flush()
        return self.path.open("rb")

    @contextmanager
    def file_of(self, model: onnx.ModelProto) -> Iterator[Path]:
        """The model as a file, gone after the block; its weights are not copied."""
        self._stream.flush()
        file = self.path.with_name(f"graph-of-{self.path.name}.onnx")
        onnx.save(model, file)
        try:
            yield file
        finally:
            file.unlink()


class Place(NamedTuple):
    """Where values lie."""

    location: str
    """A file in the graph's folder."""
    start: int
    """The first byte in it."""
    size: int
    """In bytes."""


def place_of(tensor: TensorProto) -> Place | None:
    """Where the values of a tensor lie; None if the graph holds them."""
    if tensor.data_location != TensorProto.EXTERNAL:
        return None
    entries = {entry.key: entry.value for entry in tensor.external_data}
    return Place(entries["location"], int(entries["offset"]), int(entries["length"]))


def put(tensor: TensorProto, place: Place) -> None:
    """Have a tensor say that its values lie there."""
    tensor.ClearField("external_data")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (
        ("location", place.location), ("offset", place.start), ("length", place.size)
    ):  # fmt: skip
        tensor.external_data.add(key=key, value=str(value))
