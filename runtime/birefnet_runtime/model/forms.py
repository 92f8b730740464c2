"""The two forms of a graph, and what the runtime does before and behind each.

From a normalized tensor to logits: the runtime makes the tensor and brings the logits back. From
pixels to alpha (`birefnet export --end-to-end`): the graph does both itself, at one size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, ModelError
from ..images.picture import Picture
from .metadata import ModelMetadata
from .postprocess import to_alpha
from .preprocess import to_pixels, to_tensor
from .signature import Session, Signature
from .third_party import as_logits


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image made ready for a graph.

    Attributes:
        picture: the image.
        tensor: float32 (1, 3, height, width) at the model's size, normalized RGB; for a graph that
            takes pixels, uint8 (1, H, W, 3) RGB at the image's own.
    """

    picture: Picture
    tensor: NDArray[Any]


class Form(Protocol):
    """The steps around a graph, for pictures one by one and batches of them."""

    def prepare(self, picture: Picture, size: tuple[int, int]) -> Prepared:
        """Make a batch of one, for a network that runs at (height, width) `size`."""

    def run(self, session: Session, batch: NDArray[Any]) -> NDArray[Any]:
        """An answer for each image of the batch.

        Raises:
            ImageError: the batch has another layout or type.
            ModelError: the answer has another shape, or holds NaN or infinity.
        """

    def alpha(self, answer: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
        """Bring an answer to an image of (H, W) `size`: float32 in [0, 1].

        Raises:
            ModelError: it holds NaN then; uint8 can't.
        """


def run_by_shape(
    prepared: Sequence[Prepared], run: Callable[[NDArray[Any]], NDArray[Any]]
) -> list[NDArray[Any]]:
    """Run batches of images whose tensors have one shape; an answer for each image, in order.

    Args:
        prepared: the images.
        run: gives the graph's answers to a batch.
    """
    places: dict[tuple[int, ...], list[int]] = {}
    for place, each in enumerate(prepared):
        places.setdefault(each.tensor.shape, []).append(place)
    answers: dict[int, NDArray[Any]] = {}
    for same in places.values():
        tensors = [prepared[place].tensor for place in same]
        batch = run(tensors[0] if len(same) == 1 else np.concatenate(tensors))
        answers.update(zip(same, batch, strict=True))
    return [answers[place] for place in range(len(prepared))]


def form_of(signature: Signature, metadata: ModelMetadata) -> Form:
    """The form of a graph."""
    return (PixelForm if signature.takes_pixels else TensorForm)(signature, metadata)


class TensorForm:
    """float32 (batch, 3, height, width), normalized RGB, to logits (batch, 1, height, width)."""

    def __init__(self, signature: Signature, metadata: ModelMetadata) -> None:
        self._signature = signature
        self._metadata = metadata

    def prepare(self, picture: Picture, size: tuple[int, int]) -> Prepared:
        mean, std = self._metadata.mean, self._metadata.std
        return Prepared(picture, to_tensor(picture, size, mean, std))

    def run(self, session: Session, batch: NDArray[Any]) -> NDArray[np.float32]:
        if batch.ndim != 4 or batch.shape[1] != 3 or batch.dtype != np.float32:
            raise ImageError(
                "expected a tensor as float32 (batch, 3, height, width), "
                f"got {batch.dtype} {batch.shape}"
            )
        logits = self._signature.run(session, batch)
        if logits.shape != (len(batch), 1, *batch.shape[2:]):
            raise ModelError(f"the model answered {logits.shape} to an input of {batch.shape}")
        if not np.isfinite(logits).all():
            raise ModelError("the model's answer holds NaN or infinity")
        logits = logits[:, 0]
        return as_logits(logits) if self._metadata.output == "mask" else logits

    def alpha(self, answer: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
        with np.errstate(invalid="ignore"):  # NumPy's word on it; ours is the error
            alpha = to_alpha(answer, size)
            least = alpha.min()  # NaN, if there is one anywhere
        if not np.isfinite(least):
            raise ModelError(
                "the mask holds NaN or infinity, where the model's answer had none: "
                "this processor, or its emulation, computes wrong"
            )
        return alpha


class PixelForm:
    """uint8 (batch, H, W, 3) RGB of any size to uint8 (batch, H, W) alpha of the same."""

    def __init__(self, signature: Signature, _: ModelMetadata) -> None:
        self._signature = signature

    def prepare(self, picture: Picture, size: tuple[int, int]) -> Prepared:
        return Prepared(picture, to_pixels(picture)[None])

    def run(self, session: Session, batch: NDArray[Any]) -> NDArray[np.uint8]:
        if batch.ndim != 4 or batch.shape[3] != 3 or batch.dtype != np.uint8:
            raise ImageError(
                "this model takes pixels, as uint8 (batch, height, width, 3), "
                f"got {batch.dtype} {batch.shape}"
            )
        alphas = np.asarray(self._signature.run(session, batch), np.uint8)
        if alphas.shape != batch.shape[:3]:
            raise ModelError(f"the model answered {alphas.shape} to an input of {batch.shape}")
        return alphas

    def alpha(self, answer: NDArray[Any], _: tuple[int, int]) -> NDArray[np.float32]:
        return np.asarray(answer * np.float32(1 / 255), np.float32)
