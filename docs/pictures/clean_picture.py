"""Make docs/pictures/clean.jpg: cutouts as the networks' masks are, and cleaned.

.venv/bin/python docs/pictures/clean_picture.py
"""

from pathlib import Path

from birefnet_runtime import Clean, Color, Picture, Segmenter, Style, compose, read_image
from PIL import Image
from studies.pictures.clean import spoiled
from studies.pictures.composites import make_composite

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "examples/photos/china.jpg"
HEIGHT = 300
GAP = 8


def main() -> None:
    """Drawn hair with specks and holes, without them; a photograph's cutout, its main subject."""
    drawn = make_composite("hair", 1)
    spotted = spoiled(drawn.alpha, 3)[0]
    hair = Picture(drawn.image)
    photo = read_image(PHOTO)
    found = Segmenter()(photo)
    panels = [
        compose(picture, alpha, Style(clean=clean, background=Color(color))).pixels
        for picture, alpha, color, cleans in (
            (hair, spotted, (245, 245, 245), (None, Clean())),
            (photo, found, (120, 160, 200), (None, Clean(main=True))),
        )
        for clean in cleans
    ]
    images = [Image.fromarray(panel) for panel in panels]
    images = [
        image.resize((round(image.width * HEIGHT / image.height), HEIGHT)) for image in images
    ]
    strip = Image.new("RGB", (sum(image.width + GAP for image in images) - GAP, HEIGHT), "gray")
    left = 0
    for image in images:
        strip.paste(image, (left, 0))
        left += image.width + GAP
    strip.save(ROOT / "docs/pictures/clean.jpg", quality=85)


if __name__ == "__main__":
    main()
