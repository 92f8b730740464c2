"""Find the box around the subject of each photograph in a folder, with one open model.

pip install 'birefnet-ort[cpu]'
python examples/subjects_box.py examples/photos
"""

import sys
from pathlib import Path

import numpy as np
from birefnet_runtime import ImageError, Segmenter

segmenter = Segmenter(size="auto")  # each photograph's own aspect ratio
for photo in sorted(Path(sys.argv[1]).iterdir()):
    try:
        alpha = segmenter(photo)
    except ImageError as error:
        print(f"skipped {error}")
        continue
    rows, columns = np.nonzero(alpha > 0.5)
    if rows.size == 0:
        print(f"{photo.name}: no subject")
    else:
        print(
            f"{photo.name}: rows {rows.min()} to {rows.max()}, "
            f"columns {columns.min()} to {columns.max()}"
        )
