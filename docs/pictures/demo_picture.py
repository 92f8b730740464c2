"""Make docs/pictures/demo.jpg: each photograph of `make demo` beside its mask and its cutout.

make demo && .venv-demo/bin/python docs/pictures/demo_picture.py
"""

from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
WIDTH = 400
GAP = 8
SQUARE = 12


def checkerboard(size: tuple[int, int]) -> Image.Image:
    """An opaque RGBA checkerboard to show transparency on; size is (width, height)."""
    rows, columns = np.indices((size[1], size[0])) // SQUARE
    gray = np.where((rows + columns) % 2, 255, 215).astype(np.uint8)
    return Image.fromarray(gray).convert("RGBA")


def strip_of(photo: Path, cutout: Path) -> Image.Image:
    """Photograph, mask and cutout side by side."""
    cut = Image.open(cutout)
    cut = cut.resize((WIDTH, round(cut.height * WIDTH / cut.width)))
    before = Image.open(photo).convert("RGB").resize(cut.size)
    after = Image.alpha_composite(checkerboard(cut.size), cut).convert("RGB")
    panels = [before, cut.getchannel("A").convert("RGB"), after]
    strip = Image.new("RGB", (3 * WIDTH + 2 * GAP, cut.height), "white")
    for index, panel in enumerate(panels):
        strip.paste(panel, (index * (WIDTH + GAP), 0))
    return strip


def main() -> None:
    photos = sorted(path for path in (ROOT / "examples/photos").iterdir() if path.suffix != ".md")
    strips = [strip_of(photo, ROOT / "out/demo" / f"{photo.stem}.png") for photo in photos]
    height = sum(strip.height + GAP for strip in strips) - GAP
    picture = Image.new("RGB", (strips[0].width, height), "white")
    top = 0
    for strip in strips:
        picture.paste(strip, (0, top))
        top += strip.height + GAP
    picture.save(ROOT / "docs/pictures/demo.jpg", quality=88)


if __name__ == "__main__":
    main()
