"""Make docs/pictures/foreground.jpg: hair over a saturated background, with and without its halo.

.venv/bin/python docs/pictures/foreground_picture.py
"""

from pathlib import Path

import numpy as np
from birefnet_runtime import Color, Picture, Style, compose
from PIL import Image
from studies.pictures.composites import make_composite

ROOT = Path(__file__).parents[2]
PART = (slice(170, 370), slice(330, 530))
SIDE = 400
GAP = 8


def main() -> None:
    """The image, and over white: with its own colors, with estimated ones, as it truly is."""
    drawn = make_composite("hair", 1)
    white = Color((255, 255, 255))
    panels = [drawn.image]
    for estimator in ("none", "blur"):
        style = Style(foreground=estimator, background=white)
        panels.append(compose(Picture(drawn.image), drawn.alpha, style).pixels)
    share = drawn.alpha[..., None]
    panels.append(np.rint(share * drawn.fore + (1 - share) * 255).astype(np.uint8))
    strip = Image.new("RGB", (len(panels) * (SIDE + GAP) - GAP, SIDE), "gray")
    for place, panel in enumerate(panels):
        part = Image.fromarray(panel[PART]).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        strip.paste(part, (place * (SIDE + GAP), 0))
    strip.save(ROOT / "docs/pictures/foreground.jpg", quality=90, subsampling=0)


if __name__ == "__main__":
    main()
