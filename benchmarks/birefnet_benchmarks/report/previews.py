"""Previews from a run's folder, for a page that refers to nothing outside of itself."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from ..bench.results import ConfigurationResult
from . import wording

PREVIEW_MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
}

LARGEST_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class ShownImage:
    """An image, or the reason why there is none."""

    title: str
    alt: str
    uri: str | None
    """`data:...`"""
    text: str
    """Below it; in its place where there is none."""


@dataclass(frozen=True, slots=True)
class PreviewStrip:
    """Previews of one image by all configurations of one workload."""

    image: str
    """Its name."""
    origin: tuple[ShownImage, ...]
    """The image, and the baseline's mask where there is one."""
    configurations: tuple[tuple[str, tuple[ShownImage, ...], bool], ...]
    """Each name, its mask and difference, and whether that is within the tolerance."""


def preview_strips(results: Sequence[ConfigurationResult], directory: Path) -> list[PreviewStrip]:
    """One for each image of a workload; files are looked up in the run's folder."""
    images = dict.fromkeys(preview.image for result in results for preview in result.previews)
    return [_strip(image, results, directory) for image in images]


def _strip(image: str, results: Sequence[ConfigurationResult], directory: Path) -> PreviewStrip:
    previews = [(result, p) for result in results for p in result.previews if p.image == image]
    origin = [_shown(directory, previews[0][1].thumbnail, "Image", f"The image {image}")]
    configurations = []
    for result, preview in previews:
        name = wording.configuration_name(result.configuration)
        mask = _shown(directory, preview.mask, "Mask", f"Mask of {image} by {name}")
        if result.configuration.baseline:
            origin.append(replace(mask, title=f"Mask of the baseline, {name}"))
            continue
        shown = [mask]
        if preview.difference is not None:
            shown.append(_difference(directory, preview.difference, f"{name} on {image}"))
        agrees = preview.parity is None or preview.parity.problem is None
        configurations.append((name, tuple(shown), agrees))
    return PreviewStrip(image, tuple(origin), tuple(configurations))


def _shown(directory: Path, name: str, title: str, alt: str) -> ShownImage:
    content = _content(directory, name)
    if isinstance(content, str):
        return ShownImage(title, alt, None, content)
    media = PREVIEW_MEDIA_TYPES[Path(name).suffix.lower()]
    return ShownImage(title, alt, _uri(media, content), "")


def _difference(directory: Path, name: str, of: str) -> ShownImage:
    """A difference in 8-bit levels, as bright as it goes by a power of two."""
    title, alt = "Difference", f"Difference of {of}"
    content = _content(directory, name)
    if isinstance(content, str):
        return ShownImage(title, alt, None, content)
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as opened:
            levels = np.asarray(opened.convert("L"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return ShownImage(title, alt, None, f"{name} can't be read")
    largest = int(levels.max(initial=0))
    factor = amplification(largest)
    brightened = io.BytesIO()
    Image.fromarray(levels * np.uint8(factor)).save(brightened, "PNG", optimize=True)
    text = f"at most {wording.count(largest, 'level')} of 255, shown times {factor}"
    uri = _uri("image/png", brightened.getvalue())
    return ShownImage(title, alt, uri, text if largest else "below half a level of 255 everywhere")


def amplification(largest: int) -> int:
    """The largest power of two that keeps so many levels within 255."""
    factor = 1
    while largest and largest * factor * 2 <= 255:
        factor *= 2
    return factor


def _content(directory: Path, name: str) -> bytes | str:
    """A file's bytes, or why it can't be shown. Files outside of the folder are not read."""
    try:
        path = (directory / name).resolve()
        if not path.is_relative_to(directory.resolve()):
            return f"{name} lies outside of the run's folder"
        if path.suffix.lower() not in PREVIEW_MEDIA_TYPES:
            return f"{name} is not an image that a page can show"
        if path.exists() and not (path.is_file() and path.stat().st_size <= LARGEST_BYTES):
            return f"{name} is not a file of a preview's size"
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        return f"{name} can't be read: {getattr(error, 'strerror', error)}"


def _uri(media: str, content: bytes) -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode()}"
