"""The contact sheet of the worst masks: image, ground truth, mask, and where the two differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]

THUMBNAIL_SIDE = 300
"""Longest side of a picture on the sheet, in pixels."""
COLUMNS = ("image", "ground truth", "mask", "difference: orange too much, blue missing")
TOO_MUCH, MISSING = (255, 140, 0), (60, 150, 255)


@dataclass(frozen=True, slots=True)
class SheetRow:
    """A row of the sheet.

    Attributes:
        title: the image's name.
        scores: what it scored, as text.
        pictures: one for each of `COLUMNS`, uint8 (h, w, 3) RGB, no side longer than `SIDE`.
    """

    title: str
    scores: str
    pictures: tuple[Pixels, ...]


def thumbnails(image: Pixels, truth: Pixels, mask: Pixels) -> tuple[Pixels, ...]:
    """The pictures of a row, scaled down. The difference is drawn over a dim copy of the truth.

    Args:
        image: uint8 (H, W, 3) RGB, 0–255.
        truth: uint8 (H, W), the ground truth.
        mask: uint8 (H, W), the model's.

    Returns:
        uint8 (h, w, 3) RGB, one for each of `COLUMNS`.
    """
    small_image, small_truth, small_mask = (_shrink(pixels) for pixels in (image, truth, mask))
    difference = np.repeat(small_truth[..., None] * np.float32(0.4), 3, axis=2)
    for more, less, color in ((mask, truth, TOO_MUCH), (truth, mask, MISSING)):
        # Scaled down after subtracting: else an outline that is off by a pixel would vanish.
        amount = _shrink(np.asarray(cv2.subtract(more, less), np.uint8))
        share = amount[..., None] / np.float32(255)
        difference += (np.asarray(color, np.float32) - difference) * share
    gray = (np.repeat(pixels[..., None], 3, axis=2) for pixels in (small_truth, small_mask))
    return (small_image, *gray, np.asarray(np.rint(difference), np.uint8))


def draw_sheet(rows: Sequence[SheetRow], heading: str) -> Image.Image:
    """The sheet: a heading, the columns' names, and the rows."""
    gap, line = 10, 22
    ink, faint = (20, 20, 20), (110, 110, 110)
    # For its font: Pillow's own has no letters beyond ASCII. Imported here, so that without the
    # extra the metrics' library is what is missed first.
    from matplotlib import get_data_path

    font = ImageFont.truetype(Path(get_data_path(), "fonts/ttf/DejaVuSans.ttf"), 13)
    heights = [max(picture.shape[0] for picture in row.pictures) for row in rows]
    width = gap + len(COLUMNS) * (THUMBNAIL_SIDE + gap)
    height = 2 * gap + 2 * line + sum(line + tallest + gap for tallest in heights)
    sheet = Image.new("RGB", (width, height), (250, 250, 250))
    pen = ImageDraw.Draw(sheet)
    pen.text((gap, gap), heading, ink, font)
    lefts = [gap + column * (THUMBNAIL_SIDE + gap) for column in range(len(COLUMNS))]
    for left, name in zip(lefts, COLUMNS, strict=True):
        pen.text((left, gap + line), name, faint, font)
    top = gap + 2 * line
    for row, tallest in zip(rows, heights, strict=True):
        room = width - 3 * gap - pen.textlength(row.scores, font)
        pen.text((gap, top), _shorten(row.title, room, font), ink, font)
        pen.text((width - gap, top), row.scores, faint, font, anchor="ra")
        for left, picture in zip(lefts, row.pictures, strict=True):
            sheet.paste(Image.fromarray(picture), (left, top + line))
        top += line + tallest + gap
    return sheet


def _shrink(picture: Pixels) -> Pixels:
    height, width = picture.shape[:2]
    scale = THUMBNAIL_SIDE / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _shorten(text: str, room: float, font: ImageFont.FreeTypeFont) -> str:
    """The end of a text that fits: names of one folder differ there."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(f"…{text}") > room:
        text = text[1:]
    return f"…{text}"
