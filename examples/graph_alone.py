"""Run the graph alone on a batch of tensors, with preprocessing of your own.

pip install 'birefnet-ort[cpu]'
python examples/graph_alone.py examples/photos/china.jpg examples/photos/flower.jpg
"""

import sys

import numpy as np
from birefnet_runtime import Segmenter
from PIL import Image

segmenter = Segmenter()
facts = segmenter.metadata  # what the export wrote into the file
height, width = facts.trained_size

images = [Image.open(photo).convert("RGB").resize((width, height)) for photo in sys.argv[1:]]
pixels = np.stack([np.asarray(image, np.float32) / 255 for image in images])
batch = (pixels - np.float32(facts.mean)) / np.float32(facts.std)
logits = segmenter.logits(batch.transpose(0, 3, 1, 2))  # float32 (batch, 1, height, width)

for photo, each in zip(sys.argv[1:], logits[:, 0], strict=True):
    print(f"{photo}: {(each > 0).mean():.0%} of the picture is subject")
