"""How far scores move when images and masks are resized as upstream's evaluation does it.

`python -m studies.pictures.evaluation_resize FILE PHOTOGRAPHS MASKS`

PHOTOGRAPHS and MASKS hold files of the same names; a photograph is scaled to its mask first. nano
finds each mask twice: as `birefnet evaluate` does, and with the resizing of upstream's scripts
(BiRefNet, `utils.py`, `inference.py`): OpenCV's plain bilinear filter on the way in, PyTorch's with
aligned corners on the way back, and 8 bits by cutting off.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results_file import write_results
from birefnet_benchmarks.evaluation.dataset import find_dataset, read_mask
from birefnet_benchmarks.evaluation.quality import METRICS, Tally
from birefnet_runtime import Segmenter, read_image
from numpy.typing import NDArray

MEAN = np.asarray([0.485, 0.456, 0.406], np.float32)
STD = np.asarray([0.229, 0.224, 0.225], np.float32)


def upstream_mask(segmenter: Segmenter, image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The mask of an image, resized as upstream's evaluation does.

    Args:
        segmenter: the open model.
        image: uint8 (H, W, 3) RGB, 0–255.
        side: height and width of the network's input.

    Returns:
        uint8 (H, W), 0–255.
    """
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)
    scaled = np.asarray(small, np.float32) / 255
    tensor = ((scaled - MEAN) / STD).transpose(2, 0, 1)[None]
    alpha = 1 / (1 + np.exp(-segmenter.logits(np.ascontiguousarray(tensor))[0, 0]))
    return np.asarray(with_aligned_corners(alpha, image.shape[:2]) * 255, np.uint8)


def with_aligned_corners(alpha: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    """Resize bilinearly; the corners' centers stay where they are.

    Args:
        alpha: float32 (h, w).
        size: (H, W) of the result.
    """
    places = [np.linspace(0, old - 1, new) for old, new in zip(alpha.shape, size, strict=True)]
    columns, rows = np.meshgrid(places[1].astype(np.float32), places[0].astype(np.float32))
    return np.asarray(cv2.remap(alpha, columns, rows, cv2.INTER_LINEAR), np.float32)


def measure(photographs: Path, masks: Path) -> dict[str, Any]:
    """Scores of both ways over all photographs."""
    tallies = {"birefnet evaluate": Tally(), "upstream's resizing": Tally()}
    largest = 0
    with Segmenter("nano") as segmenter:
        (side, _) = segmenter.metadata.trained_size
        pairs = find_dataset(photographs, masks).samples
        for pair in pairs:
            truth = read_mask(pair.mask)
            size = truth.shape[::-1]
            whole = read_image(pair.image).pixels
            image = np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.uint8)
            ours = np.asarray(np.rint(segmenter.alpha(image) * 255), np.uint8)
            upstreams = upstream_mask(segmenter, image, side)
            largest = max(largest, int(cv2.absdiff(ours, upstreams).max()))
            for tally, mask in zip(tallies.values(), (ours, upstreams), strict=True):
                tally.add(mask, truth)
    scores = {name: tally.scores() for name, tally in tallies.items()}
    return {"photographs": len(pairs), "largest_levels": largest, "scores": scores}


def markdown_table(stored: dict[str, Any]) -> str:
    """The scores as a table, without a line's end."""
    lines = [
        f"| resized as | {' | '.join(metric.label for metric in METRICS)} |",
        "| --- " * (1 + len(METRICS)) + "|",
    ]
    for name, scores in stored["measured"]["scores"].items():
        lines.append(f"| {name} | {' | '.join(f'{scores[m.key]:.4f}' for m in METRICS)} |")
    measured, packages = stored["measured"], stored["environment"]["packages"]
    return "\n".join(lines) + (
        f"\n\nnano on {measured['photographs']} photographs; single pixels of the masks differ by "
        f"up to {measured['largest_levels']} of 255 levels. onnxruntime {packages['onnxruntime']}."
    )


def main(arguments: Sequence[str]) -> None:
    """Measure, and write the results file."""
    output, photographs, masks = map(Path, arguments)
    stored = {"environment": asdict(read_environment()), "measured": measure(photographs, masks)}
    write_results(output, stored)
    print(markdown_table(stored))


if __name__ == "__main__":
    main(sys.argv[1:])
