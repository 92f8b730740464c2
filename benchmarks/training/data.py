"""Turn the fetched packages into two packs: cut-outs (RGBA) and backgrounds (RGB).

`python data.py ~/nano-data` writes `packs/{cutouts,backgrounds,photographs}.{bin,json}` there.
A pack is one flat uint8 file, memory-mapped by every process, and a JSON list of what lies where.
"""

import argparse
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from outline import mask_from
from photographs import read
from PIL import Image
from sources import IMAGE_SUFFIXES, SOURCES, Source, folder_of

Image.MAX_IMAGE_PIXELS = None
Pixels = NDArray[np.uint8]

CUTOUT_SIDE = 288
BACKGROUND_SIDE = 640
HELD_OUT_SHARE = 0.12


@dataclass(frozen=True)
class Entry:
    """One image of a pack.

    Attributes:
        name: path below the package's folder.
        kind: group (see sources.py); a background's is "background".
        held_out: never shown in training.
        offset: bytes before it in the pack.
        height, width, channels: its shape.
    """

    name: str
    kind: str
    held_out: bool
    offset: int
    height: int
    width: int
    channels: int


class Pack:
    """Images of a pack, memory-mapped; `pack[i]` is uint8 (H, W, C), read-only."""

    def __init__(self, stem: Path) -> None:
        records = json.loads(stem.with_suffix(".json").read_text())
        self.entries = [Entry(**record) for record in records]
        self._bytes = np.memmap(stem.with_suffix(".bin"), dtype=np.uint8, mode="r")

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Pixels:
        entry = self.entries[index]
        shape = (entry.height, entry.width, entry.channels)
        flat = self._bytes[entry.offset : entry.offset + int(np.prod(shape))]
        return np.asarray(flat).reshape(shape)


def write_pack(stem: Path, images: Sequence[tuple[str, str, Pixels]]) -> None:
    """Write (name, kind, pixels) triples as a pack."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    entries: list[Entry] = []
    offset = 0
    with stem.with_suffix(".bin").open("wb") as file:
        for name, kind, pixels in images:
            height, width, channels = pixels.shape
            entry = Entry(name, kind, is_held_out(name, kind), offset, height, width, channels)
            entries.append(entry)
            offset += file.write(np.ascontiguousarray(pixels).tobytes())
    stem.with_suffix(".json").write_text(json.dumps([asdict(entry) for entry in entries]))


def is_held_out(name: str, kind: str) -> bool:
    """Held out by name, without final digits, so that near-copies stay on one side.

    A portrait keeps its digits: they tell persons apart.
    """
    stem = Path(name).stem.lower()
    if kind != "portrait":
        stem = re.sub(r"[-_ ]?\d{1,2}$", "", stem)
    digest = hashlib.sha256(stem.encode()).digest()
    return digest[0] < 256 * HELD_OUT_SHARE


def shrink(pixels: Pixels, side: int) -> Pixels:
    """Scale down to at most `side` pixels."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def read_cutout(path: Path) -> Pixels | None:
    """A cut-out cropped to its subject, or None when the image is not one.

    uint8 (H, W, 4), colors premultiplied by alpha, so that resizing draws no fringe.
    """
    with Image.open(path) as image:
        if max(image.size) < 100 or image.mode not in ("RGBA", "LA", "P"):
            return None
        image.thumbnail((1024, 1024), Image.Resampling.BOX)
        pixels = np.asarray(image.convert("RGBA"))
    alpha = pixels[..., 3]
    if alpha.min() > 40 or (alpha > 200).mean() < 0.01:
        return None
    result = cut(pixels)
    alpha = result[..., 3]
    opaque = (alpha > 200).mean()
    halfway = ((alpha > 24) & (alpha < 200)).mean()
    if max(alpha.shape) < 90 or min(alpha.shape) < 24 or not 0.08 < opaque < 0.97:
        return None
    if halfway > 0.35 * opaque:  # smoke, glows, glass
        return None
    return result


def read_background(path: Path) -> Pixels | None:
    """A background, uint8 (H, W, 3), or None when the image is too small or see-through."""
    with Image.open(path) as image:
        if min(image.size) < 240:
            return None
        image.draft("RGB", (BACKGROUND_SIDE, BACKGROUND_SIDE))
        pixels = np.asarray(image.convert("RGBA"))
    if pixels[..., 3].min() < 250:
        return None
    return shrink(np.ascontiguousarray(pixels[..., :3]), BACKGROUND_SIDE)


def files_of(data: Path, source: Source, pattern: str) -> Iterator[tuple[str, Path]]:
    """Image files of a package that a pattern selects, with their names below the data folder."""
    folder = folder_of(data, source)
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder.parent))
        if path.suffix.lower() not in IMAGE_SUFFIXES or re.search(source.skipped, name):
            continue
        if re.search(pattern, name):
            yield name, path


def training_photographs(data: Path) -> list[tuple[str, str, Pixels]]:
    """Photographs with a mask: uint8 (H, W, 4), colors as they are, the mask as alpha.

    The boxes of gcompris.json were drawn by hand; what GrabCut made of them was looked at, and
    those where it failed were left out.
    """
    folder = data / "raw" / "gcompris-qt-data" / "carved"
    images: list[tuple[str, str, Pixels]] = []
    for name, drawn in json.loads(Path(__file__).with_name("gcompris.json").read_text()).items():
        image = read(folder / name, 400)
        mask = cv2.GaussianBlur(mask_from(image, drawn), (0, 0), 0.7)
        images.append((name, "photo", np.dstack([image, mask]).astype(np.uint8)))
    return images


def cut(image: Pixels) -> Pixels:
    """A photograph's subject alone: cropped, premultiplied."""
    alpha = image[..., 3]
    rows, columns = np.flatnonzero(alpha.max(1) > 24), np.flatnonzero(alpha.max(0) > 24)
    image = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    colors = np.rint(image[..., :3] * (image[..., 3:] / np.float32(255))).astype(np.uint8)
    return shrink(np.concatenate([colors, image[..., 3:]], 2), CUTOUT_SIDE)


def is_new(pixels: Pixels, seen: set[bytes]) -> bool:
    """Whether no image of (nearly) the same look was seen before."""
    look = (np.asarray(cv2.resize(pixels, (6, 6), interpolation=cv2.INTER_AREA)) // 32).tobytes()
    if look in seen:
        return False
    seen.add(look)
    return True


def kind_of(source: Source, name: str) -> str:
    """The group of a cut-out: drawings among the stamps have their own."""
    return "drawing" if re.search(r"cartoon|clipart|carved", name) else source.kind


def main() -> None:
    """Build both packs below the folder given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder that sources.py filled")
    data = parser.parse_args().data
    for stem, reader in (("cutouts", read_cutout), ("backgrounds", read_background)):
        images: list[tuple[str, str, Pixels]] = []
        seen: set[bytes] = set()
        for source in SOURCES:
            pattern = source.cutouts if stem == "cutouts" else source.backgrounds
            for name, path in files_of(data, source, pattern):
                pixels = reader(path)
                if pixels is not None and is_new(pixels, seen):
                    kind = kind_of(source, name) if stem == "cutouts" else "background"
                    images.append((name, kind, pixels))
        if stem == "cutouts":
            photographs = training_photographs(data)
            write_pack(data / "packs" / "photographs", photographs)
            images += [(name, kind, cut(pixels)) for name, kind, pixels in photographs]
        write_pack(data / "packs" / stem, images)
        print(stem, len(images), dict(Counter(kind for _, kind, _ in images)))
        print(
            "held out", dict(Counter(kind for name, kind, _ in images if is_held_out(name, kind)))
        )


if __name__ == "__main__":
    main()
