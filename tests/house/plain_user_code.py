"""Code as a user writes it. `make check` runs mypy over it: the public types must let it pass."""

from pathlib import Path

import birefnet_models
import numpy as np
from birefnet_runtime import (
    BirefnetError,
    Blur,
    Encoding,
    ModelMetadata,
    Result,
    Segmenter,
    Size,
    Style,
)
from numpy.typing import NDArray
from PIL import Image


def cut_out(photo: Path, model: str | Path = "nano", size: Size = None) -> Image.Image:
    segmenter = Segmenter(model, size=size, threads=2)
    alpha = segmenter(photo)
    mask = Image.fromarray((alpha * 255).astype(np.uint8))
    image = Image.open(photo)
    image.putalpha(mask)
    return image


def every_kind_of_input(segmenter: Segmenter, photo: Path) -> list[NDArray[np.float32]]:
    pixels: NDArray[np.uint8] = np.zeros((4, 4, 3), np.uint8)
    inputs = [segmenter(photo), segmenter(str(photo)), segmenter(photo.read_bytes())]
    return [*inputs, segmenter(pixels), segmenter(Image.open(photo))]


def every_kind_of_result(segmenter: Segmenter, photo: Path) -> NDArray[np.uint8]:
    deep: NDArray[np.uint16] = np.zeros((4, 4, 4), np.uint16)
    style = Style(background=Blur(), crop=0.1, depth=16)
    result: Result = segmenter.compose(photo, style)
    result.save("out.tif")
    result.save("out.webp", Encoding(quality=80))
    for alpha in segmenter.stream([photo, deep]):
        print(alpha.mean())
    with segmenter:
        return segmenter.cutout(deep, foreground="none")


def every_kind_of_size() -> list[Segmenter]:
    return [Segmenter(size=size) for size in (None, 512, (512, 1024))] + [Segmenter(size="auto")]


def facts(segmenter: Segmenter) -> tuple[int, int]:
    metadata: ModelMetadata = segmenter.metadata
    height, width = metadata.trained_size
    return height, width


def names() -> list[str]:
    return [card.name for card in birefnet_models.all_cards()]


try:
    cut_out(Path("photo.jpg"))
except BirefnetError as error:
    print(error)
