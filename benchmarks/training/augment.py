"""Changes of color, sharpness and quality; all on float32 images in [0, 1]."""

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]


def blur(image: Floats, sigma: float) -> Floats:
    """Gaussian blur; a sigma under a third of a pixel does nothing."""
    if sigma < 0.33:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.float32)


def color_jitter(rng: np.random.Generator, image: Floats, strength: float) -> Floats:
    """Random brightness, contrast, saturation, gamma and color cast."""
    if rng.random() < 0.2:
        return image
    gray = image.mean(2, keepdims=True)
    image = gray + (image - gray) * float(np.exp(rng.normal(0, 0.3 * strength)))
    contrast = float(np.exp(rng.normal(0, 0.2 * strength)))
    cast = np.exp(rng.normal(0, 0.08 * strength, 3)).astype(np.float32)
    middle = float(gray.mean())
    image = ((image - middle) * contrast + middle) * cast
    image = np.clip(image + float(rng.normal(0, 0.07 * strength)), 0, 1)
    gamma = float(np.exp(rng.normal(0, 0.2 * strength)))
    levels = np.linspace(0, 1, 256, dtype=np.float32) ** gamma
    return np.asarray(levels[(image * 255).astype(np.uint8)], dtype=np.float32)


def harmonize(rng: np.random.Generator, placed: Floats, image: Floats) -> Floats:
    """Move a subject's mean and deviation toward the background's, by a random amount."""
    inside = placed[..., 3] > 0.5
    if inside.sum() < 30:
        return placed[..., :3]
    amount = float(rng.uniform(0.1, 0.6))
    subject = placed[..., :3]
    mean, deviation = subject[inside].mean(0), subject[inside].std(0) + 0.03
    goal_mean, goal_deviation = image.mean((0, 1)), image.std((0, 1)) + 0.03
    gain = np.clip((goal_deviation / deviation) ** amount, 0.5, 1.8)
    moved = (subject - mean) * gain + mean + amount * (goal_mean - mean)
    return np.asarray(np.clip(moved, 0, 1), dtype=np.float32)


def procedural_background(rng: np.random.Generator, size: int) -> Floats:
    """A plain, graded or cloudy background, float32 (size, size, 3)."""
    base = rng.random(3).astype(np.float32)
    if rng.random() < 0.4:
        base = np.full(3, rng.random(), np.float32) + rng.normal(0, 0.03, 3).astype(np.float32)
    corners = base + rng.normal(0, rng.choice([0.02, 0.15, 0.3]), (2, 2, 3)).astype(np.float32)
    image = np.asarray(cv2.resize(corners, (size, size), interpolation=cv2.INTER_LINEAR))
    if rng.random() < 0.65:
        for cells in (4, 9, 22, 50):
            noise = rng.normal(0, 1, (cells, cells, 3)).astype(np.float32)
            noise = 0.7 * noise.mean(2, keepdims=True) + 0.3 * noise
            amount = float(rng.uniform(0, 0.16)) * (4 / cells) ** float(rng.uniform(0, 1))
            image = image + amount * np.asarray(cv2.resize(noise, (size, size)))
    if rng.random() < 0.25:
        angle, period = rng.uniform(0, np.pi), rng.uniform(0.03, 0.4) * size
        ys, xs = np.mgrid[:size, :size]
        wave = np.sin((xs * np.cos(angle) + ys * np.sin(angle)) * 2 * np.pi / period)
        stripes = np.tanh(wave * rng.uniform(0.5, 8))[..., None]
        image = image + float(rng.uniform(0.03, 0.25)) * stripes.astype(np.float32)
    return np.clip(image, 0, 1).astype(np.float32)


def degrade(rng: np.random.Generator, image: Floats) -> Pixels:
    """What a camera and a file format do: light fall-off, blur, noise, grays, JPEG."""
    size = len(image)
    if rng.random() < 0.3:
        corners = rng.uniform(0.55, 1.15, (2, 2)).astype(np.float32)
        image = image * np.asarray(cv2.resize(corners, (size, size)))[..., None]
    if rng.random() < 0.12:
        image = blur(image, float(rng.uniform(0.3, 1.2)) * size / 128)
    if rng.random() < 0.06:
        image = np.repeat(image.mean(2, keepdims=True), 3, 2)
    if rng.random() < 0.3:
        grain = rng.standard_normal((size, size, 3), dtype=np.float32)
        image = image + float(rng.uniform(0.005, 0.035)) * grain
    pixels: Pixels = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        quality = int(rng.integers(25, 95))
        _, coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        pixels = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8)
    return pixels
