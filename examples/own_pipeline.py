"""Work on the alpha as an array: estimate the foreground and mix it with NumPy.

pip install 'birefnet-ort[cpu]'
python examples/own_pipeline.py examples/photos/flower.jpg on-gray.png
"""

import sys

import numpy as np
from birefnet_runtime import Segmenter, estimate_foreground, read_image, write_image

photo, output = sys.argv[1:]

picture = read_image(photo)  # upright; pixels, the file's own alpha, its color profile
alpha = Segmenter().alpha(picture)  # float32 (H, W) in [0, 1]
colors = estimate_foreground(picture.pixels, alpha)  # uint8 (H, W, 3), no old background in it

mixed = alpha[..., None] * colors + (1 - alpha[..., None]) * 128
write_image(output, np.rint(mixed).astype(np.uint8), profile=picture.profile)
