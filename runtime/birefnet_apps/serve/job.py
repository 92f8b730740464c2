"""What a request asks for, in either API's terms, and the work before and after the run.

The run itself is the runner's. Everything here is for worker threads.
"""

import io
import zipfile
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from birefnet_models.base.text import format_bytes
from birefnet_runtime.cutout.background import ImageBackground
from birefnet_runtime.cutout.compose import Result
from birefnet_runtime.cutout.mask import Subject
from birefnet_runtime.cutout.memory import SLACK_BYTES
from birefnet_runtime.cutout.refine import Prediction
from birefnet_runtime.errors import ImageError
from birefnet_runtime.images.picture import Pixels, to_eight_bits
from birefnet_runtime.images.write import JPEG, PNG, WEBP, Encoding, write_image
from birefnet_runtime.segmenter import Segmenter

from ..files import steps
from ..files.steps import Ready, RegionError, Task, Weight, budget
from .errors import Refusal
from .settings import Settings

Output: TypeAlias = Literal["png", "jpg", "webp", "zip"]
OUTPUT_MEDIA_TYPES: dict[Output, str] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "zip": "application/zip",
}
ENCODINGS: dict[Output, Encoding] = {
    "png": Encoding(PNG),
    "jpg": Encoding(JPEG),
    "webp": Encoding(WEBP),
    "zip": Encoding(PNG),  # which takes at least as much memory
}
READ_FORMATS = frozenset(
    {"PNG", "JPEG", "MPO", "WEBP", "TIFF", "GIF", "BMP", "PPM", "AVIF", "JPEG2000", "HEIF"}
)
"""Pillow's names. Not the icons, whose header may say another size than the picture in them has."""
_NAMES = {
    "image_file": "the picture",
    "file": "the picture",
    "bg_image_file": "the background's picture",
}
_ANY_SIZE = 2**62
"""Pixels: the server's own bound is compared after the header is read, for its own answer."""


@dataclass(frozen=True, slots=True)
class Order(Task):
    """A request: a picture, what is to become of it, and how that is sent.

    Attributes:
        output: how it is sent.
        background_image: a file's bytes, which the style's background comes from.
        must_find: a picture without a subject is an error.
    """

    output: Output = "png"
    background_image: bytes | None = None
    must_find: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
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


def weigh_order(order: Order, settings: Settings) -> Weight:
    """Look at the headers of an order's pictures, without decoding anything.

    Returns:
        pixels and bytes of the picture and of the background's picture together.

    Raises:
        Refusal: they are not pictures that are read here, or too large.
    """
    weight = _weigh_picture(order, settings)
    if order.background_image is None:
        return weight
    behind = _weigh_picture(
        replace(order, source=order.background_image, name="bg_image_file"), settings
    )
    return replace(weight, pixels=weight.pixels + behind.pixels, bytes=weight.bytes + behind.bytes)


def _weigh_picture(order: Order, settings: Settings) -> Weight:
    name = order.name
    try:
        weight = steps.weigh(order, max_pixels=_ANY_SIZE)
    except ImageError as error:
        raise Refusal(400, "failed_to_read_image", str(error)) from error
    if weight.kind not in READ_FORMATS:
        title = f"{name}: {weight.kind} isn't read here; send PNG or JPEG"
        raise Refusal(400, "failed_to_read_image", title)
    if weight.pixels > settings.max_pixels:
        height, width = weight.size
        title = (
            f"{_NAMES[name]} has {width} x {height} pixels, more than the "
            f"{settings.max_pixels / 1e6:g} megapixels that this server takes"
        )
        raise Refusal(413, "resolution_too_high", title)
    left = settings.memory_left
    if left is not None and weight.bytes > budget(left, settings.held_bytes):
        raise Refusal(413, "resolution_too_high", _too_heavy(name, weight, settings, left))
    return weight


def _too_heavy(name: str, weight: Weight, settings: Settings, left: float) -> str:
    """What to send instead, and what the server's owner can do."""
    room = format_bytes(max(0.0, budget(left, settings.held_bytes)))
    title = (
        f"{_NAMES[name]} takes {format_bytes(weight.bytes)} of memory, more than the {room} that "
        "this server has for one; send a smaller one"
    )
    if settings.what_fits:
        total = weight.bytes + SLACK_BYTES + settings.held_bytes
        title += f", or change the server's options: {settings.what_fits(total)}"
    return title


def read_pictures(order: Order, segmenter: Segmenter, settings: Settings) -> Ready:
    """Decode an order's picture and make the network's input of it.

    Raises:
        Refusal: it is damaged, or no part of it lies in the region of interest.
    """
    try:
        return steps.read(order, segmenter, max_pixels=settings.max_pixels)
    except RegionError as error:
        raise Refusal(400, "invalid_parameter", f"roi: {error}") from error
    except ImageError as error:
        raise Refusal(400, "failed_to_read_image", str(error)) from error


def make_answer(order: Order, ready: Ready, prediction: Prediction, segmenter: Segmenter) -> Reply:
    """Make the file that is sent back.

    Args:
        order: what was asked for.
        ready: its picture, as `read_pictures` returns it.
        prediction: the network's answer to that.
        segmenter: the open model.

    Raises:
        Refusal: there is no subject where one is asked for, or the background isn't read.
    """
    if order.background_image is not None:
        try:
            behind = ImageBackground(order.background_image)
        except ImageError as error:
            reason = str(error).partition(": ")[2]
            raise Refusal(400, "failed_to_read_image", f"bg_image_file: {reason}") from error
        order = replace(order, style=replace(order.style, background=behind))
    result = steps.finish(order, ready, prediction, segmenter)
    if order.must_find and not result.subject.found:
        raise Refusal(
            400, "unknown_foreground", "could not find a foreground in the picture; try another"
        )
    subject = _scaled(result.subject, ready.prepared.picture.size, ready.full_size)
    height, width = result.pixels.shape[:2]
    return Reply(_encoded(result, order.output), order.output, (height, width), subject)


def _scaled(subject: Subject, size: tuple[int, int], full_size: tuple[int, int]) -> Subject:
    """The subject in the picture's own pixels."""
    if subject.box is None or size == full_size:
        return subject
    down, along = full_size[0] / size[0], full_size[1] / size[1]
    top, left, bottom, right = subject.box
    box = round(top * down), round(left * along), round(bottom * down), round(right * along)
    return replace(subject, box=box)


def _encoded(result: Result, output: Output) -> bytes:
    if output == "zip":
        return _zipped(result)
    pixels = result.pixels
    if output == "jpg" and pixels.ndim == 3 and pixels.shape[2] == 4:
        result = replace(result, pixels=_over_white(pixels))
    return result.encode(ENCODINGS[output])


def _zipped(result: Result) -> bytes:
    """Colors and alpha as two files, which is smaller than a PNG of both."""
    pixels = result.pixels
    opaque = np.full(pixels.shape[:2], np.iinfo(pixels.dtype).max, pixels.dtype)
    alpha: Any = pixels[..., 3] if pixels.shape[2] == 4 else opaque
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, part, encoding, profile in (
            ("color.jpg", pixels[..., :3], ENCODINGS["jpg"], result.profile),
            # remove.bg's is of 8 bits, and its clients read nothing else.
            ("alpha.png", to_eight_bits(alpha), ENCODINGS["png"], None),
        ):
            file = io.BytesIO()
            contiguous = cast(Pixels, np.ascontiguousarray(part))
            write_image(file, contiguous, encoding, profile=profile)
            archive.writestr(name, file.getbuffer())
    return stream.getvalue()


def _over_white(pixels: Pixels) -> Pixels:
    """(H, W, 4) RGBA before white, (H, W, 3) of the same type."""
    scale = np.float32(np.iinfo(pixels.dtype).max)
    share = pixels[..., 3:].astype(np.float32) / scale
    seen: Any = np.rint(pixels[..., :3] * share + scale * (1 - share)).astype(pixels.dtype)
    return cast(Pixels, seen)
