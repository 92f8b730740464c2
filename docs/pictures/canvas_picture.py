"""Make docs/pictures/canvas.jpg: a photograph, and its subject on canvases of other shapes.

.venv/bin/python docs/pictures/canvas_picture.py
"""

from pathlib import Path

from birefnet_runtime import Blur, Canvas, Clean, Color, Length, Segmenter, Style
from PIL import Image

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "examples/photos/flower.jpg"
HEIGHT = 320
GAP = 8
TENTH = Length(0.1, relative=True)
BOTTOM = (Length(0.2, relative=True), TENTH, Length(0), TENTH)


def main() -> None:
    """The photograph; on a white square; on a wide canvas, at its bottom; a mask in 4:5."""
    segmenter = Segmenter()
    clean, white = Clean(main=True), Color((255, 255, 255))
    styles = (
        Style(clean=clean, layout=Canvas(1.0), background=white, shadow="drop"),
        Style(clean=clean, layout=Canvas((540, 960), BOTTOM, (1, 0.8)), background=Blur()),
        Style(clean=clean, layout=Canvas(4 / 5), mask=True),
    )
    panels = [Image.open(PHOTO).convert("RGB")]
    panels += [Image.fromarray(segmenter.compose(PHOTO, style).pixels) for style in styles]
    panels = [
        panel.resize((round(panel.width * HEIGHT / panel.height), HEIGHT)) for panel in panels
    ]
    strip = Image.new("RGB", (sum(panel.width + GAP for panel in panels) - GAP, HEIGHT), "gray")
    left = 0
    for panel in panels:
        strip.paste(panel, (left, 0))
        left += panel.width + GAP
    strip.save(ROOT / "docs/pictures/canvas.jpg", quality=85)


if __name__ == "__main__":
    main()
