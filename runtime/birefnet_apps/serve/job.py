"""What a request asks for, whoever's words it was asked in, and the work before and after the run.

The run itself is the runner's. Everything here is for worker threads.
"""

import io
import zipfile
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, cast

import cv2
import numpy as np
from birefnet_runtime.cutout.background import ImageBackground
from birefnet_runtime.cutout.compose import Result, Style, compose
from birefnet_runtime.cutout.mask import BOX_ALPHA, Subject
from birefnet_runtime.cutout.memory import SLACK_BYTES, peak_bytes
from birefnet_runtime.cutout.refine import Prediction
from birefnet_runtime.errors import ImageError
from birefnet_runtime.images.picture import Picture, Pixels
from birefnet_runtime.images.read import decode, open_image
from birefnet_runtime.images.write import JPEG, PNG, WEBP, Encoding, write_image
from birefnet_runtime.model.graph_io import Prepared
from birefnet_runtime.segmenter import Segmenter
from numpy.typing import NDArray

from .errors import Refusal
from .settings import Settings

# Alpha made simpler, as some callers ask for it.


EDGE = 0.02
"""Of the picture's longer side: how far into the subject its soft edge reaches at most."""


def fill_inside(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """Make what shines through inside of the subject opaque, such as windows; its edge stays soft.

    Inside is what lies farther from the background than `EDGE`.

    Args:
        alpha: float32 (H, W) in [0, 1].

    Returns:
        float32 (H, W) in [0, 1].
    """
    shown = (alpha >= np.float32(BOX_ALPHA)).astype(np.uint8)
    # Beyond the frame it goes on: a subject that is cut off there has no edge.
    far = cv2.distanceTransform(shown, cv2.DIST_L2, cv2.DIST_MASK_5)
    inside = (far > EDGE * max(alpha.shape)) & (alpha > 0)
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


Output: TypeAlias = Literal["png", "jpg", "webp", "zip"]
MEDIA_TYPES: dict[Output, str] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "zip": "application/zip",
}
ENCODINGS = {"png": Encoding(PNG), "jpg": Encoding(JPEG), "webp": Encoding(WEBP)}
READ_FORMATS = frozenset(
    {"PNG", "JPEG", "MPO", "WEBP", "TIFF", "GIF", "BMP", "PPM", "AVIF", "JPEG2000", "HEIF"}
)
"""Pillow's names. Not the icons, whose header may say another size than the picture in them has."""
_NAMES = {"image_file": "the picture", "bg_image_file": "the background's picture"}


@dataclass(frozen=True, slots=True)
class Share:
    """A place along a side: pixels, or a share of the side in [0, 1]."""

    amount: float
    relative: bool

    def of(self, side: int, full_side: int) -> int:
        """In pixels of a side that had `full_side` before it was scaled."""
        share = self.amount if self.relative else self.amount / full_side
        return round(min(1.0, share) * side)


@dataclass(frozen=True, slots=True)
class Order:
    """A picture and what is to become of it.

    Attributes:
        image: the file's bytes.
        style: of the result; its background comes from `background_image` where that is given.
        output: how it is sent.
        most_pixels: the result is scaled down to so many; None: it keeps the picture's size.
        roi: (left, top, right, bottom), outside of which there is no subject.
        filled: the subject doesn't shine through inside.
        hard: the alpha is 0 or 1.
        background_image: a file's bytes.
        must_find: a picture without a subject is an error.
    """

    image: bytes
    style: Style
    output: Output = "png"
    most_pixels: int | None = None
    roi: tuple[Share, Share, Share, Share] | None = None
    filled: bool = False
    hard: bool = False
    background_image: bytes | None = None
    must_find: bool = False


@dataclass(frozen=True, slots=True)
class Weight:
    """What an order will take, from the headers of its pictures."""

    pixels: int
    bytes: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back.

    Attributes:
        content: the file's bytes.
        output: what kind of file.
        size: (height, width) of the result.
        subject: in the picture's own pixels.
    """

    content: bytes
    output: Output
    size: tuple[int, int]
    subject: Subject


@dataclass(frozen=True, slots=True)
class ReadOrder:
    """An order whose picture is decoded.

    Attributes:
        order: what was asked for.
        picture: at the result's size.
        prepared: what the network sees: the whole picture, or the region of interest.
        full_size: (height, width) of the picture as it came.
    """

    order: Order
    picture: Picture
    prepared: Prepared
    full_size: tuple[int, int]


def weigh(order: Order, settings: Settings) -> Weight:
    """Look at the headers of an order's pictures, without decoding anything.

    Raises:
        Refusal: they are no pictures that are read here, or too large.
    """
    weight = _weigh_picture("image_file", order.image, order, settings)
    if order.background_image is None:
        return weight
    behind = _weigh_picture("bg_image_file", order.background_image, order, settings)
    return Weight(weight.pixels + behind.pixels, weight.bytes + behind.bytes)


def _weigh_picture(name: str, content: bytes, order: Order, settings: Settings) -> Weight:
    try:
        # No bound here: it is checked below, where the answer can be the right one.
        with open_image(content, name, max_pixels=2**62) as (image, _):
            if image.format not in READ_FORMATS:
                raise ImageError(f"{name}: {image.format} isn't read here; send PNG or JPEG")
            pixels = image.width * image.height
            if pixels > settings.max_pixels:
                title = (
                    f"{_NAMES[name]} has {image.width} x {image.height} pixels, more than the "
                    f"{settings.max_pixels / 1e6:g} megapixels that this server takes"
                )
                raise Refusal(413, "resolution_too_high", title)
            encoding = ENCODINGS.get(order.output, Encoding(PNG))
            needed = peak_bytes(image, order.style, encoding)
    except ImageError as error:
        raise Refusal(400, "failed_to_read_image", str(error)) from error
    left = settings.memory_left
    if left is not None and needed + SLACK_BYTES + settings.held_bytes > left:
        raise Refusal(
            413, "resolution_too_high", f"{_NAMES[name]} takes more memory than this server has"
        )
    return Weight(pixels, needed)


def read(order: Order, segmenter: Segmenter, settings: Settings) -> ReadOrder:
    """Decode an order's picture and make the network's input of it.

    Raises:
        Refusal: it is damaged.
    """
    try:
        with open_image(order.image, "image_file", max_pixels=settings.max_pixels) as (image, name):
            picture = decode(image, name)
    except ImageError as error:
        raise Refusal(400, "failed_to_read_image", str(error)) from error
    seen = picture
    if order.roi is not None:
        rows, columns = _region(order.roi, picture.size, picture.size)
        opacity = None if picture.opacity is None else picture.opacity[rows, columns]
        seen = Picture(picture.pixels[rows, columns].copy(), opacity, picture.profile)
    prepared = segmenter.prepare(seen)
    small = _shrunk(picture, order.most_pixels)
    return ReadOrder(order, small, replace(prepared, picture=small), picture.size)


def make_answer(read_order: ReadOrder, prediction: Prediction, segmenter: Segmenter) -> Answer:
    """Make the file that is sent back.

    Args:
        read_order: the order and its picture.
        prediction: the graph's answer to what it saw.
        segmenter: the open model.

    Raises:
        Refusal: there is no subject where one is asked for, or the format can't hold the result.
    """
    order, picture = read_order.order, read_order.picture
    alpha = _alpha(read_order, prediction, segmenter)
    style = order.style
    if order.background_image is not None:
        try:
            style = replace(style, background=ImageBackground(order.background_image))
        except ImageError as error:
            reason = str(error).partition(": ")[2]
            raise Refusal(400, "failed_to_read_image", f"bg_image_file: {reason}") from error
    result = compose(picture, alpha, style, threads=1)
    if order.must_find and not result.subject.found:
        raise Refusal(
            400, "unknown_foreground", "could not find a foreground in the picture; try another"
        )
    content = _encoded(result, order.output)
    height, width = result.pixels.shape[:2]
    subject = _scaled(result.subject, picture.size, read_order.full_size)
    return Answer(content, order.output, (height, width), subject)


def _alpha(
    read_order: ReadOrder, prediction: Prediction, segmenter: Segmenter
) -> NDArray[np.float32]:
    """The subject's alpha, float32 (H, W), of the picture at the result's size."""
    order, picture = read_order.order, read_order.picture
    if order.roi is None:
        alpha = segmenter.finish(read_order.prepared, prediction)
    else:
        rows, columns = _region(order.roi, picture.size, read_order.full_size)
        alpha = np.zeros(picture.size, np.float32)
        region = Picture(picture.pixels[rows, columns], None, None)
        alpha[rows, columns] = segmenter.finish(
            replace(read_order.prepared, picture=region), prediction
        )
    if order.filled:
        alpha = fill_inside(alpha)
    return harden(alpha) if order.hard else alpha


def _region(
    roi: tuple[Share, Share, Share, Share], size: tuple[int, int], full_size: tuple[int, int]
) -> tuple[slice, slice]:
    """Rows and columns of a region of interest, at least one of each.

    Raises:
        Refusal: it lies outside of the picture.
    """
    sides = (size[1], size[0], size[1], size[0])
    full = (full_size[1], full_size[0], full_size[1], full_size[0])
    left, top, right, bottom = (
        share.of(side, whole) for share, side, whole in zip(roi, sides, full, strict=True)
    )
    if left >= size[1] or top >= size[0] or right < left or bottom < top:
        raise Refusal(400, "invalid_parameter", "roi: no part of the picture lies in it")
    return slice(top, max(top + 1, bottom)), slice(left, max(left + 1, right))


def _shrunk(picture: Picture, most_pixels: int | None) -> Picture:
    """The picture with no more pixels than that, of the same shape."""
    height, width = picture.size
    if most_pixels is None or height * width <= most_pixels:
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


def _scaled(subject: Subject, size: tuple[int, int], full_size: tuple[int, int]) -> Subject:
    """The subject in the picture's own pixels."""
    if subject.box is None or size == full_size:
        return subject
    down, along = full_size[0] / size[0], full_size[1] / size[1]
    top, left, bottom, right = subject.box
    box = round(top * down), round(left * along), round(bottom * down), round(right * along)
    return replace(subject, box=box)


def _encoded(result: Result, output: Output) -> bytes:
    stream = io.BytesIO()
    pixels = result.pixels
    if output == "zip":
        _write_zip(stream, result)
        return stream.getvalue()
    if output == "jpg" and pixels.ndim == 3 and pixels.shape[2] == 4:
        pixels = _over_white(pixels)
    result = replace(result, pixels=pixels)
    result.save(stream, ENCODINGS[output])
    return stream.getvalue()


def _write_zip(stream: io.BytesIO, result: Result) -> None:
    """Colors and alpha as two files, which is smaller than a PNG of both."""
    pixels = result.pixels
    opaque = np.full(pixels.shape[:2], np.iinfo(pixels.dtype).max, pixels.dtype)
    alpha: Any = pixels[..., 3] if pixels.shape[2] == 4 else opaque
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, part, encoding, profile in (
            ("color.jpg", pixels[..., :3], ENCODINGS["jpg"], result.profile),
            ("alpha.png", alpha, ENCODINGS["png"], None),
        ):
            file = io.BytesIO()
            write_image(file, np.ascontiguousarray(part), encoding, profile=profile)
            archive.writestr(name, file.getbuffer())


def _over_white(pixels: Pixels) -> Pixels:
    """(H, W, 4) RGBA before white, (H, W, 3) of the same type."""
    scale = np.float32(np.iinfo(pixels.dtype).max)
    share = pixels[..., 3:].astype(np.float32) / scale
    seen: Any = np.rint(pixels[..., :3] * share + scale * (1 - share)).astype(pixels.dtype)
    return cast(Pixels, seen)
