"""Put the subject in front of a color, another photograph, and a blur of its own.

pip install 'birefnet-ort[cpu]'
python examples/replace_background.py examples/photos/flower.jpg examples/photos/china.jpg
"""

import sys

from birefnet_runtime import Blur, Color, ImageBackground, Segmenter, Style

photo, behind = sys.argv[1:]

segmenter = Segmenter()
for name, background in (
    ("on-blue.jpg", Color((40, 90, 200))),
    ("elsewhere.jpg", ImageBackground(behind)),
    ("portrait.jpg", Blur()),
):
    segmenter.compose(photo, Style(background=background)).save(name)
