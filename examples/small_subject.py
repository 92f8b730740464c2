"""Find a subject that fills little of the picture, looking at its surroundings a second time.

pip install 'birefnet-ort[cpu]'
python examples/small_subject.py examples/photos/flower.jpg mask.png
"""

import sys

from birefnet_runtime import Segmenter, Style

photo, output = sys.argv[1:]

# Where the subject's surroundings are more than half of the picture, it is looked at once.
result = Segmenter(refine=True).compose(photo, Style(mask=True))
result.save(output)
print(f"{output}: {result.subject.share:.0%} of the picture is subject")
