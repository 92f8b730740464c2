"""Compose training samples: cut-outs over backgrounds, as varied as a cheap recipe allows."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from augment import blur, color_jitter, degrade, harmonize, procedural_background
from data import Pack, Pixels
from numpy.typing import NDArray

Floats = NDArray[np.float32]
WEIGHTS = {
    "stamp": 0.54,
    "photo": 0.14,
    "portrait": 0.10,
    "painting": 0.10,
    "emoji": 0.06,
    "render": 0.03,
    "drawing": 0.03,
}
"""How often each kind of cut-out is drawn: photographic ones and people before the rest."""
EXTENTS, EXTENT_SHARES = ((0.3, 0.7), (0.6, 1.0), (1.0, 1.8)), (0.25, 0.47, 0.28)
"""Longest side of a cut-out in units of the frame: small, filling it, cut off by its border."""
PHOTOGRAPH_SHARE = 0.18
"""How often a whole photograph with its mask takes the place of a composite, in training."""


@dataclass(frozen=True)
class Placement:
    """Where a cut-out goes: longest side and center in units of the frame, angle in degrees."""

    extent: float
    x: float
    y: float
    angle: float
    flip: bool


class Composer:
    """Draws composites from the packs of one side of the split.

    Args:
        data: folder with `packs/` below it (see data.py).
        held_out: draw from the held-out cut-outs and backgrounds instead of the training ones.
        seed: of the generator that decides everything.
    """

    def __init__(self, data: Path, *, held_out: bool, seed: int) -> None:
        self.cutouts = Pack(data / "packs" / "cutouts")
        self.backgrounds = Pack(data / "packs" / "backgrounds")
        self.rng = np.random.default_rng(seed)
        self.by_kind: dict[str, list[int]] = defaultdict(list)
        for index, entry in enumerate(self.cutouts.entries):
            if entry.held_out == held_out:
                self.by_kind[entry.kind].append(index)
        self.photographs = Pack(data / "packs" / "photographs")
        self.photograph_indices = [
            index
            for index, entry in enumerate(self.photographs.entries)
            if entry.held_out == held_out and not held_out
        ]
        self.scenes = [
            index
            for index, entry in enumerate(self.backgrounds.entries)
            if entry.held_out == held_out
        ]
        self.kinds = [kind for kind in WEIGHTS if kind in self.by_kind]
        weights = np.array([WEIGHTS[kind] for kind in self.kinds])
        self.weights = weights / weights.sum()

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return bool(self.rng.random() < probability)

    def sample(self, size: int) -> tuple[Pixels, Pixels]:
        """One composite: uint8 (size, size, 3) RGB, and its alpha, uint8 (size, size).

        The subject covers between 3 % and 92 % of the frame.
        """
        while True:
            photograph = self.chance(PHOTOGRAPH_SHARE) and len(self.photograph_indices) > 0
            image, alpha = self.photograph(size) if photograph else self.attempt(size)
            if 0.03 < (alpha > 127).mean() < 0.92:
                return image, alpha

    def attempt(self, size: int) -> tuple[Pixels, Pixels]:
        """One composite, whatever its subject covers."""
        rng = self.rng
        image = self.background(size)
        kind = str(rng.choice(self.kinds, p=self.weights))
        indices = [int(rng.choice(self.by_kind[kind]))]
        if self.chance(0.07):
            twin = self.chance(0.5)
            indices.append(indices[0] if twin else int(rng.choice(self.by_kind[kind])))
        alpha = np.zeros((size, size), np.float32)
        for count, index in enumerate(indices):
            placed = self.place(index, size, self.placement(kind, size, count > 0))
            if self.chance(0.2):
                placed[..., :3] = harmonize(rng, placed, image)
            image = self.shadowed(image, placed[..., 3])
            cover = placed[..., 3:]
            image = image * (1 - cover) + placed[..., :3] * cover
            alpha = np.maximum(alpha, placed[..., 3])
        pixels = degrade(rng, color_jitter(rng, image, 0.35))
        return pixels, (alpha * 255 + 0.5).astype(np.uint8)

    def plain(self, size: int) -> tuple[Pixels, Pixels]:
        """The plainest composite: one photographic cut-out, whole, on a photograph."""
        rng = self.rng
        kind = str(rng.choice([kind for kind in ("stamp", "photo") if self.by_kind[kind]]))
        index = int(rng.choice(self.by_kind[kind]))
        cover = np.zeros((size, size, 1), np.float32)
        while cover.mean() < 0.03:
            extent = float(rng.uniform(0.5, 0.95))
            x, y = rng.uniform(extent / 2, 1 - extent / 2, 2)
            where = Placement(extent, float(x), float(y), 0.0, self.chance(0.5))
            placed = self.place(index, size, where)
            cover = placed[..., 3:]
            index = int(rng.choice(self.by_kind[kind]))
        image = self.scene_crop(size)
        image = image * (1 - cover) + placed[..., :3] * cover
        return (image * 255 + 0.5).astype(np.uint8), (cover[..., 0] * 255 + 0.5).astype(np.uint8)

    def photograph(self, size: int) -> tuple[Pixels, Pixels]:
        """A random part of a whole photograph, its colors changed."""
        rng = self.rng
        pixels = self.photographs[int(rng.choice(self.photograph_indices))]
        height, width = pixels.shape[:2]
        crop_h, crop_w = (int(side * rng.uniform(0.5, 1)) for side in (height, width))
        top = int(rng.integers(0, height - crop_h + 1))
        left = int(rng.integers(0, width - crop_w + 1))
        crop = pixels[top : top + crop_h, left : left + crop_w]
        crop = np.asarray(cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA))
        if self.chance(0.5):
            crop = crop[:, ::-1]
        image = color_jitter(rng, crop[..., :3].astype(np.float32) / np.float32(255), 1.0)
        return degrade(rng, image), np.ascontiguousarray(crop[..., 3])

    def background(self, size: int) -> Floats:
        """A scene behind the subject, float32 (size, size, 3) in [0, 1]."""
        rng = self.rng
        plain = self.chance(0.2)
        image = procedural_background(rng, size) if plain else self.scene_crop(size)
        if self.chance(0.1):
            self.scatter(image, size)
        if self.chance(0.3):
            image = blur(image, float(rng.uniform(0.005, 0.06)) * size)
        return color_jitter(rng, image, 0.4)

    def scene_crop(self, size: int) -> Floats:
        """A crop of a background at a random place and scale, float32 (size, size, 3)."""
        rng = self.rng
        scene = self.backgrounds[int(rng.choice(self.scenes))]
        height, width = scene.shape[:2]
        side = min(height, width) * float(rng.uniform(0.2, 1.0))
        crop_w = int(min(width, side * rng.uniform(0.85, 1.3)))
        crop_h = int(min(height, side))
        top = int(rng.integers(0, height - crop_h + 1))
        left = int(rng.integers(0, width - crop_w + 1))
        crop = scene[top : top + crop_h, left : left + crop_w]
        crop = np.asarray(cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA))
        if self.chance(0.5):
            crop = crop[:, ::-1]
        if self.chance(0.1):
            crop = crop[::-1]
        return crop.astype(np.float32) / np.float32(255)

    def scatter(self, image: Floats, size: int) -> None:
        """Put blurred or small things into the background, in place: they are not the subject."""
        rng = self.rng
        for _ in range(int(rng.integers(1, 5))):
            kind = str(rng.choice(self.kinds, p=self.weights))
            index = int(rng.choice(self.by_kind[kind]))
            extent = float(rng.uniform(0.1, 0.45))
            where = Placement(extent, float(rng.random()), float(rng.random()), 0.0, False)
            placed = self.place(index, size, where)
            placed = blur(placed, extent * size * float(rng.uniform(0.06, 0.15)))
            image *= 1 - placed[..., 3:]
            image += placed[..., :3] * placed[..., 3:]

    def placement(self, kind: str, size: int, second: bool) -> Placement:
        """Where a subject goes: anything from a twentieth of the frame to well beyond it."""
        rng = self.rng
        low, high = EXTENTS[int(rng.choice(len(EXTENTS), p=EXTENT_SHARES))]
        extent = float(rng.uniform(low, high))
        extent *= 0.8 if second else 1.0
        spread = 0.17 if extent < 0.9 else 0.13
        x, y = (float(np.clip(rng.normal(0.5, spread), 0.15, 0.85)) for _ in range(2))
        if kind in ("portrait", "painting") and self.chance(0.75):
            y = max(y, 1 - 0.5 * extent * float(rng.uniform(0.6, 1.0)))
        angle = float(rng.normal(0, 9)) if self.chance(0.8) else float(rng.uniform(-180, 180))
        if kind in ("portrait", "painting"):
            angle = float(rng.normal(0, 5))
        return Placement(extent, x, y, angle, self.chance(0.5))

    def place(self, index: int, size: int, where: Placement) -> Floats:
        """A cut-out on an empty frame: float32 (size, size, 4) in [0, 1], not premultiplied."""
        rng = self.rng
        cutout = self.cutouts[index]
        scale = where.extent * size / max(cutout.shape[:2])
        if scale < 0.8:
            shape = (
                max(2, round(cutout.shape[1] * scale)),
                max(2, round(cutout.shape[0] * scale)),
            )
            cutout = np.asarray(cv2.resize(cutout, shape, interpolation=cv2.INTER_AREA))
            scale = 1.0
        height, width = cutout.shape[:2]
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), where.angle, scale)
        stretch = float(np.exp(rng.normal(0, 0.1)))
        linear = np.diag([stretch * (-1 if where.flip else 1), 1 / stretch]) @ turn[:, :2]
        center = linear @ np.array([width / 2, height / 2])
        shift = np.array([where.x, where.y]) * size - center
        matrix = np.concatenate([linear, shift[:, None]], 1)
        placed = np.asarray(cv2.warpAffine(cutout, matrix, (size, size)))
        placed = placed.astype(np.float32) / np.float32(255)
        if self.chance(0.25):
            placed = blur(placed, float(rng.uniform(0.002, 0.008)) * size)
        alpha = placed[..., 3:]
        straight = np.asarray(placed[..., :3] / np.maximum(alpha, 1e-3), dtype=np.float32)
        colors = color_jitter(rng, np.minimum(straight, 1), 0.4)
        return np.concatenate([colors, np.clip(alpha, 0, 1)], 2)

    def shadowed(self, image: Floats, alpha: Floats) -> Floats:
        """Darken the background beside the subject, sometimes."""
        if not self.chance(0.3):
            return image
        size = len(alpha)
        shift = np.array([[1, 0, self.rng.normal(0, 0.05) * size],
                          [0, 1, self.rng.uniform(-0.02, 0.08) * size]])  # fmt: skip
        shade = np.asarray(cv2.warpAffine(alpha, shift, (size, size))).astype(np.float32)
        shade = blur(shade, float(self.rng.uniform(0.01, 0.06)) * size)
        return image * (1 - float(self.rng.uniform(0.2, 0.7)) * shade[..., None])
