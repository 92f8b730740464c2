"""ONNX's external data: a tensor of a graph that says in which file its values lie, and where."""

from __future__ import annotations

from typing import NamedTuple

from onnx import TensorProto


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
