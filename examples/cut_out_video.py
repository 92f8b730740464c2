"""Cut the subject out of a video, into one with alpha. Needs ffmpeg.

pip install 'birefnet-ort[cpu]'
python examples/cut_out_video.py clip.mp4 clip.webm
"""

import sys
from pathlib import Path

from birefnet_apps.video.convert import cut_out_video
from birefnet_runtime import Segmenter

source, target = map(Path, sys.argv[1:])

frames = cut_out_video(source, target, Segmenter())  # .mov: ProRes 4444, .webm: VP9
print(f"{target}: {frames} frames")
