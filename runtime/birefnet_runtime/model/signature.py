"""What a graph takes and gives: ours, and those of other exporters with their own limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import ModelError
from .validate import LARGEST_INPUT_SIDE

_FLOATS: dict[str, DTypeLike] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
DTYPES = _FLOATS | {"tensor(uint8)": np.uint8}

OutputKind: TypeAlias = Literal["logits", "mask", "alpha"]
"""What a graph's output holds: logits, their sigmoid in [0, 1], or the alpha of an image of any
size in 0 to 255."""


class Session(Protocol):
    """The part of `onnxruntime.InferenceSession` that a Segmenter uses."""

    def get_inputs(self) -> Sequence[Any]:
        """The graph's inputs: `name`, `type` and `shape` of each."""

    def get_outputs(self) -> Sequence[Any]:
        """The graph's outputs: `name`, `type` and `shape` of each."""

    def get_modelmeta(self) -> Any:
        """What the file says of itself: `custom_metadata_map`, text by name."""

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, NDArray[Any]]
    ) -> Sequence[Any]:
        """The outputs of these names, None being all, for an array for each input."""


@dataclass(frozen=True, slots=True)
class Signature:
    """The one image input and the one mask output of a graph."""

    input: str
    output: str
    dtype: DTypeLike
    """Of the input: float32 or float16; uint8 where the graph takes pixels."""
    batch: int | None
    """The only batch that the graph takes; None where any is free."""
    size: tuple[int, int] | None
    """The only (height, width) that the graph takes; None where it is free."""

    @property
    def takes_pixels(self) -> bool:
        """Whether it is a graph from pixels to alpha."""
        return self.dtype == np.uint8

    def run(self, session: Session, tensor: NDArray[Any]) -> NDArray[np.float32]:
        """The graph's answer, as float32: (batch, 1, height, width), or (batch, height, width).

        A graph with a fixed batch runs as often as it takes.

        Args:
            session: the one that this signature was read from.
            tensor: float32 (batch, 3, height, width), or uint8 (batch, height, width, 3).

        Raises:
            ModelError: the batch does not divide by the graph's own.
        """
        feed: NDArray[Any] = tensor.astype(self.dtype, copy=False)
        batches = 1 if self.batch is None else len(feed) / self.batch
        if batches % 1:
            raise ModelError(f"the model takes batches of {self.batch}, not of {len(feed)}")
        masks = []
        for part in np.split(feed, int(batches)):
            (mask,) = session.run([self.output], {self.input: part})
            masks.append(mask if self.takes_pixels else np.asarray(mask, dtype=np.float32))
        return masks[0] if len(masks) == 1 else np.concatenate(masks)


def read_signature(session: Session) -> Signature:
    """Find the image input and the mask output.

    Among several outputs the first counts whose height and width are the input's.

    Raises:
        ModelError: the graph has no such input or output; the message lists what it has.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if pixels := _from_pixels(inputs, outputs):
        return pixels
    if len(inputs) != 1 or inputs[0].type not in _FLOATS or not _fits(inputs[0].shape, 3):
        raise ModelError(_refusal(3, inputs))
    image = inputs[0]
    masks = [o for o in outputs if o.type in _FLOATS and _fits(o.shape, 1)]
    same_size = [o for o in masks if list(o.shape[2:]) == list(image.shape[2:])]
    if not (same_size or len(masks) == 1):
        raise ModelError(_refusal(1, outputs))
    batch, _, height, width = image.shape
    sides = (height, width)
    if any(isinstance(side, int) for side in sides) and not all(isinstance(s, int) for s in sides):
        raise ModelError(f"its size is half fixed: {height}x{width}; such a graph is not supported")
    if (
        any(isinstance(side, int) and not 1 <= side <= LARGEST_INPUT_SIDE for side in sides)
        or batch == 0
    ):
        raise ModelError(
            f"its input is fixed at {list(image.shape)}: batches hold at least one image, "
            f"sides 1 to {LARGEST_INPUT_SIDE:,} pixels"
        )
    return Signature(
        input=str(image.name),
        output=str((same_size or masks)[0].name),
        dtype=DTYPES[image.type],
        batch=batch if isinstance(batch, int) else None,
        size=sides if isinstance(height, int) else None,
    )


def output_shape(shape: tuple[int, ...], dtype: str) -> tuple[int, ...]:
    """The shape of what a graph answers to an input of this shape and type (ONNX Runtime's)."""
    if DTYPES[dtype] == np.uint8:
        return shape[:3]
    batch, _, height, width = shape
    return batch, 1, height, width


def _from_pixels(inputs: Sequence[Any], outputs: Sequence[Any]) -> Signature | None:
    """The signature of a graph from pixels to alpha; None of another one."""
    if len(inputs) != 1 or len(outputs) != 1:
        return None
    image, alpha = inputs[0], outputs[0]
    shapes = [(len(end.shape), end.type) for end in (image, alpha)]
    if shapes != [(4, "tensor(uint8)"), (3, "tensor(uint8)")] or image.shape[3] != 3:
        return None
    batch = image.shape[0] if isinstance(image.shape[0], int) else None
    return Signature(str(image.name), str(alpha.name), np.uint8, batch, None)


def _fits(shape: Sequence[int | str | None], channels: int) -> bool:
    return len(shape) == 4 and (not isinstance(shape[1], int) or shape[1] == channels)


def _refusal(channels: int, nodes: Sequence[Any]) -> str:
    ends = "; ".join(f"{node.name} {node.type} {node.shape}" for node in nodes)
    return f"no BiRefNet: wanted one float (batch, {channels}, height, width), found {ends}"
