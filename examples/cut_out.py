"""Cut the subject out of one photograph.

pip install 'birefnet-ort[cpu]'
python examples/cut_out.py examples/photos/flower.jpg cutout.png
"""

import sys

import numpy as np
from birefnet_runtime import Segmenter
from PIL import Image, ImageOps

photo, output = sys.argv[1:]

# nano ships with the package and shows that everything works; give the directory of an exported
# model for real work: Segmenter("lite-onnx").
segmenter = Segmenter("nano")
alpha = segmenter(photo)  # float32 (H, W) in [0, 1], at the photograph's own size

image = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
image.putalpha(Image.fromarray(np.rint(alpha * 255).astype(np.uint8)))
image.save(output)
print(f"{output}: {alpha.mean():.0%} of the picture is subject")
