"""Composites whose truth is known: subjects with hair and soft edges over saturated backgrounds.

Everything is drawn from a seed, so that anybody has the same pictures.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

Edge: TypeAlias = Literal["hair", "fur", "soft"]
EDGES: tuple[Edge, ...] = get_args(Edge)
Light: TypeAlias = Literal["values", "linear"]
"""How subject and background mixed: on the values, as in every matting data set, or as light does
in a camera."""
OVERSAMPLING = 4
_HAIRS = {"hair": (700, 0.34, 0.9), "fur": (6000, 0.06, 0.5), "soft": (0, 0.0, 0.0)}
"""How many, how long (of the picture's shorter side) and how curved."""


@dataclass(frozen=True, slots=True)
class Composite:
    """A picture and what it was made of.

    Attributes:
        image: uint8 (H, W, 3) RGB, the mixture.
        alpha: float32 (H, W) in [0, 1].
        fore: float32 (H, W, 3) RGB, 0–255: the subject everywhere.
        back: float32 (H, W, 3) RGB, 0–255.
    """

    image: NDArray[np.uint8]
    alpha: NDArray[np.float32]
    fore: NDArray[np.float32]
    back: NDArray[np.float32]


def make_composite(
    edge: Edge, seed: int, size: tuple[int, int] = (768, 1024), light: Light = "values"
) -> Composite:
    """Draw one.

    Args:
        edge: long hair, dense fur, or a subject out of focus.
        seed: of everything that is drawn.
        size: (height, width).
        light: how subject and background mix.
    """
    random = np.random.default_rng(seed)
    alpha = _draw_alpha(edge, random, size)
    fore = draw_texture(random, size, saturation=(0.15, 0.5), brightness=(0.1, 0.6), detail=12)
    back = draw_texture(random, size, saturation=(0.85, 1.0), brightness=(0.6, 1.0), detail=3)
    return Composite(np.rint(mix(fore, back, alpha, light)).astype(np.uint8), alpha, fore, back)


def mix(
    fore: NDArray[np.float32], back: NDArray[np.float32], alpha: NDArray[np.float32], light: Light
) -> NDArray[np.float32]:
    """Fore over back; (H, W, 3) RGB, 0–255."""
    share = alpha[..., None]
    if light == "values":
        return np.asarray(share * fore + (1 - share) * back, dtype=np.float32)
    return _to_values(share * _to_light(fore) + (1 - share) * _to_light(back))


def _draw_alpha(
    edge: Edge, random: np.random.Generator, size: tuple[int, int]
) -> NDArray[np.float32]:
    """Coverage, drawn larger and shrunk, so that hairs thinner than a pixel are what they are."""
    height, width = size
    scale = OVERSAMPLING
    canvas = np.zeros((height * scale, width * scale), np.uint8)
    center = np.array([width * random.uniform(0.4, 0.6), height * 0.6]) * scale
    axes = np.array([width * 0.2, height * 0.26]) * scale
    cv2.ellipse(canvas, tuple(map(int, center)), tuple(map(int, axes)), 0, 0, 360, 255, -1)
    count, length, curl = _HAIRS[edge]
    for _ in range(count):
        _draw_hair(canvas, random, center, axes, length * min(size) * scale, curl)
    alpha = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    if edge == "soft":
        alpha = cv2.GaussianBlur(alpha.astype(np.float32), (0, 0), min(size) / 40)
    return np.clip(alpha.astype(np.float32) / 255, 0, 1)


def _draw_hair(
    canvas: NDArray[np.uint8],
    random: np.random.Generator,
    center: NDArray[np.float64],
    axes: NDArray[np.float64],
    length: float,
    curl: float,
) -> None:
    angle = random.uniform(0, 2 * np.pi)
    outward = np.array([np.cos(angle), np.sin(angle)])
    start = center + 0.97 * axes * outward
    steps = np.linspace(0, 1, 24)[:, None]
    bend = np.array([-outward[1], outward[0]]) * curl * random.normal()
    reach = length * random.uniform(0.3, 1)
    points = start + reach * (steps * outward + steps**2 * bend)
    thickness = int(random.integers(1, 7))
    cv2.polylines(canvas, [np.rint(points).astype(np.int32)], False, 255, thickness, cv2.LINE_AA)


def draw_texture(
    random: np.random.Generator,
    size: tuple[int, int],
    saturation: tuple[float, float],
    brightness: tuple[float, float],
    detail: int,
) -> NDArray[np.float32]:
    """Related hues that change slowly, with some grain; (H, W, 3) RGB, 0–255."""
    height, width = size
    hue = (random.uniform(0, 360) + random.normal(0, 25, (detail, detail))) % 360
    planes = [hue, random.uniform(*saturation, hue.shape), random.uniform(*brightness, hue.shape)]
    coarse = cv2.cvtColor(np.stack(planes, axis=2).astype(np.float32), cv2.COLOR_HSV2RGB)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = random.normal(0, 0.015, (height, width, 1)).astype(np.float32)
    return np.asarray(np.clip(smooth + grain, 0, 1) * 255, dtype=np.float32)


def _to_light(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """IEC 61966-2-1, 0–255 to [0, 1]."""
    share = values / np.float32(255)
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4).astype(
        np.float32
    )


def _to_values(light: NDArray[np.float32]) -> NDArray[np.float32]:
    share = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return (share * 255).astype(np.float32)
