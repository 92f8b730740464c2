"""Write the mask of a video as a gray video, smoothed in time. Needs ffmpeg.

pip install 'birefnet-ort[cpu]'
python examples/video_mask.py clip.mp4 mask.webm
"""

import sys
from pathlib import Path

from birefnet_apps.video.convert import cut_out_video
from birefnet_runtime import Segmenter, Style

source, target = map(Path, sys.argv[1:])

style = Style(mask=True, depth=8)
frames = cut_out_video(source, target, Segmenter(), style=style, smooth=True)
print(f"{target}: {frames} frames")
