"""Weigh, read, finish: what is done to one picture around the network's run, by folders and server.

    weight = weigh(task)                              from its header; nothing is decoded
    ready = read(task, segmenter)                     decoded, and made the network's input
    (prediction,) = segmenter.run([ready.prepared])
    result = finish(task, ready, prediction, segmenter)

Everything here may run in any thread.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from birefnet_runtime.cutout.compose import Result, Style, compose
from birefnet_runtime.cutout.layout import Length
from birefnet_runtime.cutout.mask import BOX_ALPHA
from birefnet_runtime.cutout.memory import SLACK_BYTES, check_canvas, peak_bytes
from birefnet_runtime.cutout.refine import Prediction
from birefnet_runtime.errors import ImageError
from birefnet_runtime.images.picture import Picture
from birefnet_runtime.images.read import decode, open_image, pixel_limit
from birefnet_runtime.images.write import PNG, Encoding
from birefnet_runtime.model.graph_io import Prepared
from birefnet_runtime.pipeline import CAPACITY
from birefnet_runtime.segmenter import Segmenter
from numpy.typing import NDArray
from PIL import Image

Region: TypeAlias = tuple[Length, Length, Length, Length]
"""Left, top, right and bottom of a part of a picture; shares are of its width and height."""

_ANIMATED = frozenset({"GIF", "WEBP", "PNG", "AVIF", "HEIF"})
"""Formats whose frames follow each other in time; a TIFF's are pages."""
SOFT_EDGE = 0.02
"""Of the picture's longer side: how far into the subject its soft edge reaches at most."""


class RegionError(ImageError):
    """No part of the picture lies in the region that was asked for."""


@dataclass(frozen=True, slots=True)
class Task:
    """A picture and what is to become of it.

    Attributes:
        source: the image's path, or its bytes.
        name: as messages call it.
        style: what comes out.
        encoding: how it is written.
        most_pixels: the result is scaled down to so many; None: it keeps the picture's size.
        region: outside of it there is no subject; None: all of the picture is looked at.
        filled: the subject doesn't shine through inside.
        hard: the alpha is 0 or 1.
    """

    source: Path | bytes
    name: str
    style: Style = field(default_factory=Style)
    encoding: Encoding = field(default_factory=Encoding)
    most_pixels: int | None = None
    region: Region | None = None
    filled: bool = False
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Weight:
    """What a task will take, from its picture's header.

    Attributes:
        size: (height, width) in pixels, as the file has them: it may say that it is turned.
        pixels: how many those are.
        kind: Pillow's name of the file's format.
        bytes: of memory at its peak, beside what all tasks share.
        animated: whether all of its frames are done, one after another.
    """

    size: tuple[int, int]
    pixels: int
    kind: str
    bytes: float
    animated: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """A task's picture in memory.

    Attributes:
        prepared: the network's input, and the picture at the result's size.
        full_size: (height, width) of the picture as it came.
    """

    prepared: Prepared
    full_size: tuple[int, int]


def budget(memory_left: float | None, held_bytes: float = 0) -> float:
    """How many bytes all pictures under way may take together.

    Args:
        memory_left: bytes that a limit of memory leaves beside the model; None without a limit.
        held_bytes: of those, what else is in memory, such as uploads.
    """
    return CAPACITY if memory_left is None else memory_left - SLACK_BYTES - held_bytes


def weigh(task: Task, *, max_pixels: int | None = None, all_frames: bool = False) -> Weight:
    """Look at a picture's header, without decoding anything.

    Args:
        task: what is asked for.
        max_pixels: a larger picture, or canvas, is an error; by default Pillow's bound.
        all_frames: an animation is done frame by frame.

    Raises:
        ImageError: it is not an image that is read, or too large.
    """
    with open_image(task.source, task.name, max_pixels=max_pixels) as (image, _):
        size = image.height, image.width
        if task.style.layout is not None:
            check_canvas(task.name, size, task.style, pixel_limit(max_pixels))
        needed = peak_bytes(image, task.style, task.encoding)
        animated = all_frames and is_animated(image)
        if animated and task.encoding.format == PNG:  # whose writer wants every frame at once
            needed += 4 * size[0] * size[1] * getattr(image, "n_frames", 1)
        return Weight(size, size[0] * size[1], image.format or "", needed, animated)


def read(task: Task, segmenter: Segmenter, *, max_pixels: int | None = None) -> Ready:
    """Decode a task's picture and make the network's input of it.

    Raises:
        RegionError: the region lies outside of the picture.
        ImageError: it is damaged, not an image, or too large.
    """
    with open_image(task.source, task.name, max_pixels=max_pixels) as (image, name):
        picture = decode(image, name)
    visible = picture
    if task.region is not None:
        rows, columns = _part(task.region, picture.size, picture.size)
        opacity = None if picture.opacity is None else picture.opacity[rows, columns]
        visible = Picture(picture.pixels[rows, columns].copy(), opacity, picture.profile)
    prepared = segmenter.prepare(visible)
    if task.most_pixels is not None:
        prepared = replace(prepared, picture=shrunk(picture, task.most_pixels))
    elif visible is not picture:
        prepared = replace(prepared, picture=picture)
    return Ready(prepared, picture.size)


def finish(task: Task, ready: Ready, prediction: Prediction, segmenter: Segmenter) -> Result:
    """Make the result of the network's answer.

    Args:
        task: what is asked for.
        ready: its picture, as `read` returns it.
        prediction: as `Segmenter.run` returns it for that.
        segmenter: the open model.

    Raises:
        MissingExtraError: the style's foreground needs pymatting, which is not installed.
    """
    picture = ready.prepared.picture
    if task.region is None:
        alpha = segmenter.finish(ready.prepared, prediction)
    else:
        rows, columns = _part(task.region, picture.size, ready.full_size)
        alpha = np.zeros(picture.size, np.float32)
        part = Picture(picture.pixels[rows, columns], None, None)
        alpha[rows, columns] = segmenter.finish(replace(ready.prepared, picture=part), prediction)
    if task.filled:
        alpha = fill_inside(alpha)
    if task.hard:
        alpha = harden(alpha)
    # One thread: other pictures are read and written beside it.
    return compose(picture, alpha, task.style, threads=1)


def is_animated(image: Image.Image) -> bool:
    """Whether an opened file has several frames that follow each other in time."""
    return image.format in _ANIMATED and getattr(image, "n_frames", 1) - first_frame(image) > 1


def first_frame(image: Image.Image) -> int:
    """The number of the first frame: a PNG may have a still image before them."""
    return int(bool(image.info.get("default_image")))


def fill_inside(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """Make what shines through inside of the subject opaque, such as windows; its edge stays soft.

    Inside is what lies farther from the background than `SOFT_EDGE`.

    Args:
        alpha: float32 (H, W) in [0, 1].

    Returns:
        float32 (H, W) in [0, 1].
    """
    shown = (alpha >= np.float32(BOX_ALPHA)).astype(np.uint8)
    # Beyond the frame it goes on: a subject that is cut off there has no edge.
    far = cv2.distanceTransform(shown, cv2.DIST_L2, cv2.DIST_MASK_5)
    inside = (far > SOFT_EDGE * max(alpha.shape)) & (alpha > 0)
    return np.where(inside, np.float32(1), alpha)


def harden(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """A smooth mask of zeros and ones, as rembg's `ppm` makes it: opened, blurred, cut at half.

    Args:
        alpha: float32 (H, W) in [0, 1].

    Returns:
        float32 (H, W), 0 or 1.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    opened = cv2.morphologyEx(alpha, cv2.MORPH_OPEN, kernel)
    smooth = cv2.GaussianBlur(opened, (5, 5), sigmaX=2, sigmaY=2, borderType=cv2.BORDER_DEFAULT)
    return (smooth >= np.float32(127 / 255)).astype(np.float32)


def shrunk(picture: Picture, most_pixels: int) -> Picture:
    """The picture with no more pixels than that, of the same shape."""
    height, width = picture.size
    if height * width <= most_pixels:
        return picture
    factor = (most_pixels / (height * width)) ** 0.5
    size = max(1, int(width * factor)), max(1, int(height * factor))

    def resized(pixels: Any) -> Any:
        return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)

    if picture.opacity is None:
        return Picture(resized(picture.pixels), None, picture.profile)
    # What is transparent has no color to bleed into its neighbors.
    share = picture.opacity.astype(np.float32)
    colors, weight = resized(picture.pixels * share[..., None]), resized(share)
    colors = np.rint(colors / np.maximum(weight, 1e-6)[..., None]).astype(picture.pixels.dtype)
    return Picture(colors, np.rint(weight).astype(picture.opacity.dtype), picture.profile)


def _part(region: Region, size: tuple[int, int], full_size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a region, at least one of each.

    Args:
        region: pixels count in the picture as it came.
        size: (height, width) of the picture now.
        full_size: (height, width) of the picture as it came.

    Raises:
        RegionError: it lies outside of the picture.
    """

    def place(length: Length, side: int, full_side: int) -> int:
        share = length.amount if length.relative else length.amount / full_side
        return round(min(1.0, share) * side)

    sides, full = (size[1], size[0]) * 2, (full_size[1], full_size[0]) * 2
    left, top, right, bottom = map(place, region, sides, full)
    if left >= size[1] or top >= size[0] or right < left or bottom < top:
        raise RegionError("no part of the picture lies in the region")
    return slice(top, max(top + 1, bottom)), slice(left, max(left + 1, right))
