"""Find the subjects of any number of images in bounded memory, then free the model's.

pip install 'birefnet-ort[cpu]'
python examples/many_images.py examples/photos
"""

import sys
from pathlib import Path

from birefnet_runtime import Segmenter

photos = sorted(Path(sys.argv[1]).glob("*.jpg"))

with Segmenter() as segmenter:  # its memory goes back to the system at the end
    # The next images are read while the network runs.
    for photo, alpha in zip(photos, segmenter.stream(photos), strict=True):
        print(f"{photo.name}: {alpha.mean():.0%} of the picture is subject")
