"""Pictures of a run's folder, for a page that refers to nothing outside of itself."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..bench.results import Outcome
from . import wording

MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture, or why there is none."""

    title: str
    alt: str
    uri: str | None
    """`data:...`"""
    text: str
    """Below it; in its place where there is none."""


@dataclass(frozen=True, slots=True)
class Strip:
    """What the rows of one case made of one image."""

    image: str
    """Its name."""
    origin: tuple[Shown, ...]
    """The image, and the baseline's mask where there is one."""
    rows: tuple[tuple[str, tuple[Shown, ...], bool], ...]
    """Each row's name, its mask and difference, and whether that is within the tolerance."""


def strips(outcomes: Sequence[Outcome], directory: Path) -> list[Strip]:
    """One for each image that rows of a case ran on; files are looked up in the run's folder."""
    images = dict.fromkeys(p.image for outcome in outcomes for p in outcome.pictures)
    return [_strip(image, outcomes, directory) for image in images]


def _strip(image: str, outcomes: Sequence[Outcome], directory: Path) -> Strip:
    found = [(o, p) for o in outcomes for p in o.pictures if p.image == image]
    origin = [_shown(directory, found[0][1].preview, "Image", f"The image {image}")]
    rows = []
    for outcome, picture in found:
        name = wording.way_name(outcome.row)
        mask = _shown(directory, picture.mask, "Mask", f"Mask of {image} by {name}")
        if outcome.row.baseline:
            origin.append(_captioned(mask, f"Mask of the baseline, {name}"))
            continue
        shown = [mask]
        if picture.difference is not None:
            shown.append(_difference(directory, picture.difference, f"{name} on {image}"))
        agrees = picture.parity is None or picture.parity.problem is None
        rows.append((name, tuple(shown), agrees))
    return Strip(image, tuple(origin), tuple(rows))


def _captioned(shown: Shown, title: str) -> Shown:
    return Shown(title, shown.alt, shown.uri, shown.text)


def _shown(directory: Path, name: str, title: str, alt: str) -> Shown:
    content = _content(directory, name)
    if isinstance(content, str):
        return Shown(title, alt, None, content)
    media = MEDIA_TYPES[Path(name).suffix.lower()]
    return Shown(title, alt, _uri(media, content), "")


def _difference(directory: Path, name: str, of: str) -> Shown:
    """A difference in 8-bit levels, as bright as it goes by a power of two."""
    title, alt = "Difference", f"Difference of {of}"
    content = _content(directory, name)
    if isinstance(content, str):
        return Shown(title, alt, None, content)
    try:
        with Image.open(io.BytesIO(content)) as opened:
            levels = np.asarray(opened.convert("L"))
    except OSError:
        return Shown(title, alt, None, f"{name} can't be read")
    largest = int(levels.max(initial=0))
    factor = amplification(largest)
    brightened = io.BytesIO()
    Image.fromarray(levels * np.uint8(factor)).save(brightened, "PNG", optimize=True)
    text = f"at most {wording.count(largest, 'level')} of 255, shown times {factor}"
    uri = _uri("image/png", brightened.getvalue())
    return Shown(title, alt, uri, text if largest else "below half a level of 255 everywhere")


def amplification(largest: int) -> int:
    """The largest power of two that keeps so many levels within 255."""
    factor = 1
    while largest and largest * factor * 2 <= 255:
        factor *= 2
    return factor


def _content(directory: Path, name: str) -> bytes | str:
    """A file's bytes, or why it can't be shown. What lies outside of the folder isn't looked at."""
    path = (directory / name).resolve()
    if not path.is_relative_to(directory.resolve()):
        return f"{name} lies outside of the run's folder"
    if path.suffix.lower() not in MEDIA_TYPES:
        return f"{name} is no picture that a page can show"
    try:
        return path.read_bytes()
    except OSError as error:
        return f"{name} can't be read: {error.strerror}"


def _uri(media: str, content: bytes) -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode()}"
