"""Find the box around the subject of each photograph in a folder, with one open model.

pip install 'birefnet-ort[cpu]'
python examples/subjects_box.py examples/photos
"""

import sys
from pathlib import Path

from birefnet_runtime import ImageError, Segmenter, find_subject

segmenter = Segmenter(size="auto")  # each photograph's own aspect ratio
for photo in sorted(Path(sys.argv[1]).iterdir()):
    try:
        subject = find_subject(segmenter.alpha(photo))
    except ImageError as error:
        print(f"skipped {error}")
        continue
    if subject.box is None:
        print(f"{photo.name}: no subject")
    else:
        top, left, bottom, right = subject.box
        print(f"{photo.name}: rows {top} to {bottom}, columns {left} to {right}")
