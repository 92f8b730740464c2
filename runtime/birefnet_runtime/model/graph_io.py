"""The two forms of a graph, and what the runtime does before and behind each.

From a normalized tensor to logits: the runtime makes the tensor and brings the logits back. From
pixels to alpha (`birefnet export --end-to-end`): the graph does both itself, at one size.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from birefnet_models.base.text import format_size
from numpy.typing import NDArray
from PIL import Image

from ..errors import ImageError, ModelError
from ..images.color import to_srgb
from ..images.picture import Picture, to_eight_bits
from .locate import ModelFile
from .metadata import ModelMetadata, read_metadata
from .signature import Session, Signature

# Logits to alpha.


_TILE, _ACROSS = 16, 512
"""Pixels that are enlarged at once, along the line and across: OpenBLAS multiplies matrices this
small on the calling thread."""


def to_alpha(logits: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Sigmoid, then back to the image's size by Pillow's bicubic filter.

    As the model cards' lines do it, but for one step: they cut the mask to 8 bits before they
    resize it; here it stays float32 throughout, which lies within 2 levels of 255 of theirs.

    Args:
        logits: float32 (height, width), at the model's size.
        size: (H, W) of the image.

    Returns:
        float32 (H, W), in [0, 1].
    """
    half = np.float32(0.5)
    # The sigmoid: 1 / (1 + exp(-x)) overflows far below zero; tanh does not.
    return resize_mask(np.tanh(logits * half) * half + half, size)


def resize_mask(mask: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize by Pillow's bicubic filter, its overshoot cut off after each direction.

    So does Pillow with 8-bit images. What it doesn't do with float ones shows at hairs, by up to
    15 levels of 255 (`benchmarks/results/mask_resize.json`).

    Args:
        mask: float32 (height, width), in [0, 1].
        size: (height, width) of the result.

    Returns:
        float32 of this size, in [0, 1].
    """
    (rows, columns), (height, width) = mask.shape, size
    if height < rows or width < columns:
        for step in ((width, rows), (width, height)):
            resized = Image.fromarray(mask).resize(step, Image.Resampling.BICUBIC)
            mask = np.asarray(resized).clip(0, 1)
        return mask
    # The same numbers as Pillow's to 3e-7, in a quarter of its time to 12 megapixels.
    wide = np.empty((rows, width), np.float32)
    for target, source, weights in _tiles(columns, width):
        for start in range(0, rows, _ACROSS):
            lines = slice(start, start + _ACROSS)
            np.matmul(mask[lines, source], weights.T, out=wide[lines, target])
    np.clip(wide, 0, 1, out=wide)
    large = np.empty((height, width), np.float32)
    for target, source, weights in _tiles(rows, height):
        for start in range(0, width, _ACROSS):
            lines = slice(start, start + _ACROSS)
            np.matmul(weights, wide[source, lines], out=large[target, lines])
    return np.clip(large, 0, 1, out=large)


def _tiles(source: int, target: int) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
    """For some pixels of the enlarged line after others: which, from which source pixels, and the
    weights, (target pixels, source pixels), that turn the one into the other.

    The filter is Keys's with a = -1/2 (IEEE Trans. ASSP 29, 1981), and the weights of a pixel that
    reach beyond the line's end go to those within: as in Pillow's `Resample.c`. OpenCV's bicubic
    filter has a = -3/4.
    """
    for start in range(0, target, _TILE):
        stop = min(start + _TILE, target)
        centers = (np.arange(start, stop) + 0.5) * (source / target)
        first, last = max(0, int(centers[0] - 1.5)), min(source, int(centers[-1] + 2.5))
        x = np.abs(np.arange(first, last) + 0.5 - centers[:, None])
        near, far = (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2
        weights = np.where(x < 1, near, np.where(x < 2, far, 0))
        weights /= weights.sum(axis=1, keepdims=True)
        yield slice(start, stop), slice(first, last), weights.astype(np.float32)


# Image to tensor: upstream's pipeline, step by step.


def to_tensor(
    picture: Picture,
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
) -> NDArray[np.float32]:
    """Composite over white, stretch to the model's size, convert to sRGB and normalize.

    The stretch is Pillow's bilinear filter, antialiased when it shrinks, on 8-bit values: what
    upstream's `transforms.Resize` does to a PIL image. No letterbox: upstream's issue 318 found
    that it costs quality. Rows come first, then columns, as in the Pillow that the models were
    trained with; by itself Pillow 13 takes another order for some shapes, which moves a quarter of
    the values by a level, and edges of masks by several. Upstream ignores profiles; a picture
    without one gives its numbers.

    Args:
        picture: the image, at any size.
        size: (height, width) of the result.
        mean: per channel, of values in [0, 1].
        std: per channel, of values in [0, 1].

    Returns:
        float32 (1, 3, height, width), normalized RGB.
    """
    height, width = size
    stretched = _over_white(picture)
    for step in ((width, stretched.height), (width, height)):
        stretched = stretched.resize(step, Image.Resampling.BILINEAR)
    if picture.profile is not None:
        # After the stretch: the same to the eye, and a small picture costs nothing.
        stretched = to_srgb(stretched, picture.profile) or stretched
    pixels = np.asarray(stretched, dtype=np.float32) / np.float32(255)
    normalized = (pixels - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(normalized.transpose(2, 0, 1)[None])  # (1, 3, height, width)


def to_pixels(picture: Picture) -> NDArray[np.uint8]:
    """Composite over white and convert to sRGB: uint8 (H, W, 3) RGB, of the picture's size."""
    image = _over_white(picture)
    if picture.profile is not None:
        image = to_srgb(image, picture.profile) or image
    return np.asarray(image, np.uint8)


def _over_white(picture: Picture) -> Image.Image:
    image = Image.fromarray(to_eight_bits(picture.pixels))
    if picture.opacity is None:
        return image
    opacity = Image.fromarray(to_eight_bits(picture.opacity))
    return Image.composite(image, Image.new("RGB", image.size, "white"), opacity)


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

    def __repr__(self) -> str:
        shape = format_size(self.tensor.shape)
        return f"<Prepared: {shape} {self.tensor.dtype} of {self.picture}>"


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


def stated_form(model: ModelFile) -> Form:
    """The form of one of our files, by what it says itself; no session is opened.

    Raises:
        ModelError: its metadata can't be read.
    """
    metadata = read_metadata(model.graph.properties)
    image, mask = model.graph.inputs[0], model.graph.outputs[0]
    kind = np.uint8 if metadata.output == "alpha" else np.float32
    return form_of(Signature(image.name, mask.name, kind, None, None), metadata)


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
        return self._as_stated(logits[:, 0])

    def _as_stated(self, answer: NDArray[np.float32]) -> NDArray[np.float32]:
        """The logits of an answer, which may be a mask already.

        Other tools' graphs say nothing of that, and not all end in an operator that shows it. But
        logits of a picture are never all in [0, 1]. They may all be above 0, where the subject
        fills the picture, but not in the hundreds, as masks are that were multiplied by 255.
        """
        if self._metadata.output == "logits" and self._metadata.is_stated:
            return answer
        least, most = float(answer.min()), float(answer.max())
        if least >= -_ROUNDING and most <= 1 + _ROUNDING:
            return as_logits(answer)
        if self._metadata.output == "mask" or (least >= 0 and most > _MOST_LOGIT):
            raise ModelError(
                f"the model's answer goes from {least:.3g} to {most:.3g}: it is neither a mask in "
                "0 to 1 nor logits, which go below 0; export the model with another last step"
            )
        return answer

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


_ROUNDING = 1e-3
"""How far a mask may lie beyond 0 and 1."""
_MOST_LOGIT = 100
"""BiRefNet's go from -72 to 64."""
_LEAST = np.float32(2**-24)
"""The smallest distance from 1 in float32."""


def as_logits(mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logits whose sigmoid is this mask, to 1e-7.

    Args:
        mask: float32, in [0, 1]; the ends, whose logits are infinite, are moved by 6e-8.
    """
    inside = mask.clip(_LEAST, 1 - _LEAST)
    logits: NDArray[np.float32] = np.log(inside / (1 - inside))
    return logits
