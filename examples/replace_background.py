"""Put the subject in front of a plain colour.

pip install 'birefnet-ort[cpu]'
python examples/replace_background.py examples/photos/flower.jpg on-blue.jpg 40 90 200
"""

import sys

import numpy as np
from birefnet_runtime import Segmenter
from PIL import Image

photo, output, *colour = sys.argv[1:]

image = np.asarray(Image.open(photo).convert("RGB"))  # uint8 (H, W, 3)
alpha = Segmenter()(image)[..., None]  # float32 (H, W, 1)
background = np.array([int(value) for value in colour], np.float32)
Image.fromarray((alpha * image + (1 - alpha) * background).astype(np.uint8)).save(output)
