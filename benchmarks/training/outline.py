"""Masks of photographs from outlines drawn by hand, their edges refined by GrabCut.

An outline file maps an image's name to `{"band": B, "outlines": [[[x, y], ...], ...]}`, all in
percent of the image's width and height, or to `{"box": [left, top, right, bottom]}`, inside which
GrabCut finds everything by itself. Within `band` percent of an outline GrabCut decides;
farther in is subject, farther out is not. A band of 0 leaves the outline as drawn.
"""

from typing import TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


class Outline(TypedDict, total=False):
    """One image's entry in an outline file."""

    box: list[float]
    band: float
    outlines: list[list[list[float]]]


def mask_from(image: Pixels, drawn: Outline) -> Pixels:
    """Mask, uint8 (H, W) of 0 or 255, of the subject of `image`, uint8 (H, W, 3) RGB."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    if "box" in drawn:
        left, top, right, bottom = np.array(drawn["box"]) / 100
        rows = slice(int(top * height), int(bottom * height))
        mask[rows, int(left * width) : int(right * width)] = cv2.GC_PR_FGD
        return grabbed(image, mask, rounds=6)
    for points in drawn["outlines"]:
        corners = np.array(points) * (width / 100, height / 100)
        cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], (255,))
    reach = round(drawn["band"] / 100 * max(height, width))
    if not reach:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    labels = np.where(mask > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[cv2.erode(mask, kernel, borderValue=(255,)) > 0] = cv2.GC_FGD
    labels[cv2.dilate(mask, kernel) == 0] = cv2.GC_BGD
    return grabbed(image, labels, rounds=3)


def grabbed(image: Pixels, labels: Pixels, rounds: int) -> Pixels:
    """What GrabCut makes of a first labeling; uint8 (H, W) of 0 or 255."""
    models = np.zeros((1, 65)), np.zeros((1, 65))
    bgr = np.ascontiguousarray(image[..., ::-1])
    cv2.setRNGSeed(0)
    cv2.grabCut(bgr, labels, (0, 0, 1, 1), *models, rounds, cv2.GC_INIT_WITH_MASK)
    found = np.where((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD), 255, 0).astype(np.uint8)
    return np.asarray(cv2.medianBlur(found, 3), dtype=np.uint8)


def overlay(image: Pixels, mask: Pixels) -> Pixels:
    """The image with everything outside its mask tinted, to look at."""
    tinted = image // 3 + np.array([0, 0, 150], np.uint8)
    return np.where(mask[..., None] > 127, image, tinted).astype(np.uint8)
