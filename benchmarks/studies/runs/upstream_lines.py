"""A cutout with PyTorch in the steps of upstream's model card, its foreground colors included.

`python -m studies.runs.upstream_lines CHECKPOINT IMAGE OUTPUT SIZE THREADS`. The card resizes with
Pillow, runs the network, brings the mask back as 8-bit Pillow does, and estimates colors by blur
fusion, twice, with windows of 90 and 6 pixels (Forte and Pitie, "Approximate Fast Foreground
Colour Estimation", 2021), in float32 over the whole picture.
"""

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from birefnet_benchmarks.pytorch.birefnet import load
from birefnet_export.checkpoint.read import read_checkpoint
from PIL import Image

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def blur_fusion(image: Any, fore: Any, behind: Any, alpha: Any, window: int) -> tuple[Any, Any]:
    """One pass: float32 (H, W, 3) image, foreground and background, (H, W, 1) alpha in [0, 1]."""
    size = (window, window)
    share = cv2.blur(alpha, size)[..., None]
    smooth = cv2.blur(fore * alpha, size) / (share + 1e-5)
    rest = cv2.blur(behind * (1 - alpha), size) / ((1 - share) + 1e-5)
    fore = smooth + alpha * (image - alpha * smooth - (1 - alpha) * rest)
    return np.clip(fore, 0, 1), rest


def main(checkpoint: str, source: str, target: str, size: str, threads: str) -> None:
    """Cut one picture out."""
    torch.set_num_threads(int(threads))
    network = load(read_checkpoint(Path(checkpoint)))
    image = Image.open(source).convert("RGB")
    small = image.resize((int(size), int(size)), Image.Resampling.BILINEAR)
    mean, std = np.asarray(MEAN, np.float32), np.asarray(STD, np.float32)
    pixels = (np.asarray(small, np.float32) / np.float32(255) - mean) / std
    with torch.inference_mode():
        logits = network(torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()))
        mask = logits.sigmoid()[0, 0].numpy()
    gray = Image.fromarray((mask * 255).astype(np.uint8)).resize(image.size)
    whole = np.asarray(image, np.float32) / 255
    alpha = (np.asarray(gray, np.float32) / 255)[..., None]
    fore, behind = blur_fusion(whole, whole, whole, alpha, 90)
    fore, _ = blur_fusion(whole, fore, behind, alpha, 6)
    cut = Image.fromarray((fore * 255).astype(np.uint8))
    cut.putalpha(gray)
    cut.save(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
