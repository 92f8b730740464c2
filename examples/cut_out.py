"""Cut the subject out of one photograph.

pip install 'birefnet-ort[cpu]'
python examples/cut_out.py examples/photos/flower.jpg cutout.png
"""

import sys

from birefnet_runtime import Segmenter

photo, output = sys.argv[1:]

# nano ships with the package and shows that everything works; give the directory of an exported
# model for real work: Segmenter("lite-onnx").
segmenter = Segmenter("nano")
result = segmenter.compose(photo)  # RGBA pixels, with the photograph's color profile
result.save(output)  # .png, .webp or .tif; appears whole or not at all
print(f"{output}: {result.subject.share:.0%} of the picture is subject")
