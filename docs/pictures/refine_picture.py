"""Make docs/pictures/refine.jpg: a small subject's mask, found in one look and in two.

.venv/bin/python docs/pictures/refine_picture.py
"""

from pathlib import Path

import numpy as np
from birefnet_runtime import Segmenter
from birefnet_runtime.cutout.mask import find_subject, widen
from PIL import Image
from studies.pictures.refine import make_case

ROOT = Path(__file__).parents[2]
HEIGHT = 360
GAP = 8


def main() -> None:
    """The picture, and of the subject: itself, its mask in one look, in two, and the true one."""
    image, truth = make_case("photograph", 0.05, 3)
    masks = [Segmenter("nano", refine=refine)(image) for refine in (False, True)]
    box = find_subject(truth).box
    assert box is not None
    top, left, bottom, right = widen(box, 0.05, truth.shape)
    part = slice(top, bottom), slice(left, right)
    levels = [np.rint(mask[part] * 255).astype(np.uint8) for mask in (*masks, truth)]
    panels = [Image.fromarray(each).convert("RGB") for each in (image, image[part], *levels)]
    panels = [each.resize((round(each.width * HEIGHT / each.height), HEIGHT)) for each in panels]
    strip = Image.new("RGB", (sum(each.width + GAP for each in panels) - GAP, HEIGHT), "gray")
    place = 0
    for panel in panels:
        strip.paste(panel, (place, 0))
        place += panel.width + GAP
    strip.save(ROOT / "docs/pictures/refine.jpg", quality=85)


if __name__ == "__main__":
    main()
