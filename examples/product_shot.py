"""Put the subject in the middle of a white square with a shadow, as shops show things.

pip install 'birefnet-ort[cpu]'
python examples/product_shot.py examples/photos/flower.jpg product.jpg
"""

import sys

from birefnet_runtime import Canvas, Clean, Color, Encoding, Segmenter, Style
from birefnet_runtime.images.write import JPEG

photo, output = sys.argv[1:]

white = Color((255, 255, 255))
style = Style(clean=Clean(), layout=Canvas((1000, 1000)), background=white, shadow="drop")
result = Segmenter().compose(photo, style)
result.save(output, Encoding(JPEG, quality=85))
print(f"{output}: {result.pixels.shape[1]} x {result.pixels.shape[0]}, box {result.subject.box}")
