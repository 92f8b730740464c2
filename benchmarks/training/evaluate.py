"""Mean IoU (alpha > 0.5) on composites of held-out cut-outs and on real photographs.

`python evaluate.py DATA MODEL --size 256`, MODEL a .safetensors file (run by PyTorch) or an .onnx
file (run by our own runtime).
"""

import argparse
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from birefnet_benchmarks.pytorch.birefnet import BiRefNet
from birefnet_runtime import Segmenter
from composite import Composer
from data import Pixels
from network import ARCHITECTURE, normalized
from numpy.typing import NDArray
from photographs import pairs
from PIL import Image
from safetensors.torch import load_file
from torch import nn

Bools = NDArray[np.bool_]
Alpha = NDArray[np.float32]
Predictor = Callable[[Pixels], Alpha]
"""uint8 (H, W, 3) RGB to alpha, float32 (H, W)."""
COMPOSITE_SEED = 20_240_107


def iou(mask: Bools, truth: Bools) -> float:
    """Intersection over union of two boolean maps; two empty ones agree."""
    both, either = (mask & truth).sum(), (mask | truth).sum()
    return float(both / either) if either else 1.0


def torch_predictor(net: nn.Module, size: int) -> Predictor:
    """Run a PyTorch module at size x size, the way of upstream's pipeline."""

    def predict(image: Pixels) -> Alpha:
        small = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
        with torch.inference_mode():
            logits = net(normalized(torch.from_numpy(np.array(small)[None])))
        alpha = logits.sigmoid()[0, 0].numpy()
        return np.asarray(cv2.resize(alpha, image.shape[1::-1]), dtype=np.float32)

    return predict


def predictor_from(model: Path, size: int) -> Predictor:
    """A predictor of a checkpoint or of an exported graph."""
    if model.suffix == ".onnx":
        segmenter = Segmenter(model, size=size)
        return lambda image: segmenter(image)
    net = BiRefNet(ARCHITECTURE)
    net.load_state_dict({name: value.float() for name, value in load_file(model).items()})
    return torch_predictor(net.eval(), size)


@cache
def composites(data: Path, side: int, count: int, plain: bool) -> list[tuple[Pixels, Pixels]]:
    """The same each time: uint8 (side, side, 3) images and (side, side) alphas."""
    composer = Composer(data, held_out=True, seed=COMPOSITE_SEED)
    return [composer.plain(side) if plain else composer.sample(side) for _ in range(count)]


def composite_iou(
    predict: Predictor, data: Path, side: int, count: int, *, plain: bool = False
) -> float:
    """Mean IoU on composites of held-out cut-outs over held-out backgrounds.

    Args:
        predict: the model.
        data: folder with `packs/` below it.
        side: of the composites, in pixels.
        count: how many.
        plain: one photographic cut-out whole in the frame over a photograph, nothing else done to
            it; otherwise everything that training composites have.
    """
    found = composites(data, side, count, plain)
    return float(np.mean([iou(predict(image) > 0.5, alpha > 127) for image, alpha in found]))


def photograph_ious(predict: Predictor, data: Path) -> dict[str, float]:
    """IoU on each of the real photographs of real/."""
    return {name: iou(predict(image) > 0.5, mask > 127) for name, image, mask in pairs(data)}


def main() -> None:
    """Print the scores of a model as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder that sources.py and data.py filled")
    parser.add_argument("model", type=Path, help=".safetensors or .onnx")
    parser.add_argument("--size", type=int, default=256, help="side that the model runs at")
    parser.add_argument("--count", type=int, default=300, help="composites of each kind")
    given = parser.parse_args()
    predict = predictor_from(given.model, given.size)
    photographs = photograph_ious(predict, given.data)
    scores = {
        f"composites_{given.size}": composite_iou(predict, given.data, given.size, given.count),
        "composites": composite_iou(predict, given.data, 256, given.count),
        "plain_composites": composite_iou(predict, given.data, 256, given.count, plain=True),
        "photographs": float(np.mean(list(photographs.values()))),
        "each_photograph": photographs,
    }
    print(json.dumps(scores, indent=2))


if __name__ == "__main__":
    main()
