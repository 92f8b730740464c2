"""The worst cases side by side: image, ground truth, what was found, and where they differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from birefnet_models.atomic_write import replacing
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]

SIDE = 300
"""Longest side of a picture on the sheet, in pixels."""
COLUMNS = ("image", "ground truth", "found", "difference: orange too much, blue missing")
TOO_MUCH, MISSING = (255, 140, 0), (60, 150, 255)
# Pillow's own font has no letters beyond ASCII; file names have.
FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
_GAP, _LINE, _TEXT = 10, 22, 13
_PAPER, _INK, _FAINT = (250, 250, 250), (20, 20, 20), (110, 110, 110)


@dataclass(frozen=True, slots=True)
class Case:
    """A row of the sheet.

    Attributes:
        title: the image's name.
        scores: what it scored, as text.
        pictures: one for each of `COLUMNS`, uint8 (h, w, 3) RGB, no side longer than `SIDE`.
    """

    title: str
    scores: str
    pictures: tuple[Pixels, ...]


def thumbnails(image: Pixels, expected: Pixels, found: Pixels) -> tuple[Pixels, ...]:
    """The pictures of a row.

    Args:
        image: uint8 (H, W, 3) RGB, 0–255.
        expected: uint8 (H, W), the ground truth.
        found: uint8 (H, W), the mask.
    """
    shown = [_shrink(each) for each in (image, expected, found)]
    gray = [np.repeat(mask[..., None], 3, axis=2) for mask in shown[1:]]
    # Shrunk after they were taken apart: else an outline that is off by a pixel would vanish.
    too_much = _shrink(np.asarray(cv2.subtract(found, expected), np.uint8))
    missing = _shrink(np.asarray(cv2.subtract(expected, found), np.uint8))
    return (shown[0], *gray, difference(shown[1], too_much, missing))


def difference(expected: Pixels, too_much: Pixels, missing: Pixels) -> Pixels:
    """Where a mask departs from the truth, over a dim copy of the truth.

    Args:
        expected: uint8 (h, w), the truth.
        too_much: uint8 (h, w), by how much what was found is above it.
        missing: uint8 (h, w), by how much it is below.

    Returns:
        uint8 (h, w, 3) RGB.
    """
    drawn = np.repeat(expected[..., None] * np.float32(0.4), 3, axis=2)
    for amount, color in ((too_much, TOO_MUCH), (missing, MISSING)):
        drawn += (np.asarray(color, np.float32) - drawn) * (amount[..., None] / np.float32(255))
    return np.asarray(np.rint(drawn), np.uint8)


def draw_sheet(cases: Sequence[Case], heading: str) -> Image.Image:
    """The sheet: a heading, the columns' names, and a row for each case."""
    font = ImageFont.truetype(FONT, _TEXT)
    heights = [max(picture.shape[0] for picture in case.pictures) for case in cases]
    width = _GAP + len(COLUMNS) * (SIDE + _GAP)
    height = 2 * _GAP + 2 * _LINE + sum(_LINE + each + _GAP for each in heights)
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, _GAP), heading, _INK, font)
    lefts = [_GAP + column * (SIDE + _GAP) for column in range(len(COLUMNS))]
    for left, name in zip(lefts, COLUMNS, strict=True):
        pen.text((left, _GAP + _LINE), name, _FAINT, font)
    top = _GAP + 2 * _LINE
    for case, tall in zip(cases, heights, strict=True):
        room = width - 3 * _GAP - pen.textlength(case.scores, font)
        pen.text((_GAP, top), _shorten(case.title, room, font), _INK, font)
        pen.text((width - _GAP, top), case.scores, _FAINT, font, anchor="ra")
        for left, picture in zip(lefts, case.pictures, strict=True):
            sheet.paste(Image.fromarray(picture), (left, top + _LINE))
        top += _LINE + tall + _GAP
    return sheet


def write_sheet(path: Path, cases: Sequence[Case], heading: str) -> None:
    """Draw the sheet into a file, whole or not at all."""
    with replacing(path) as unnamed:
        draw_sheet(cases, heading).save(unnamed)


def _shrink(picture: Pixels) -> Pixels:
    height, width = picture.shape[:2]
    scale = SIDE / max(height, width)
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
