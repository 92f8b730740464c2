"""Crop to the subject and lay it on white with a shadow, as shops show things.

pip install 'birefnet-ort[cpu]'
python examples/product_shot.py examples/photos/flower.jpg product.jpg
"""

import sys

from birefnet_runtime import Color, Encoding, Segmenter, Style
from birefnet_runtime.images.write import JPEG

photo, output = sys.argv[1:]

style = Style(background=Color((255, 255, 255)), crop=0.1, shadow="drop")
result = Segmenter().compose(photo, style)
result.save(output, Encoding(JPEG, quality=85))
print(f"{output}: {result.pixels.shape[1]} x {result.pixels.shape[0]}, box {result.subject.box}")
