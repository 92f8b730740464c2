"""Fetch the openly licensed packages that the training images come from.

Everything comes through apt and npm into a folder outside the repository:
`python sources.py ~/nano-data` fills `~/nano-data/raw/<package>/`. Licenses are in
models/nano/README.md.
"""

import argparse
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """A package, and what its images are used for.

    Attributes:
        package: Debian or npm package name.
        kind: group name of its cut-outs (sampling weights are per group), "" for backgrounds only.
        cutouts: pattern that a path must match to be taken as a cut-out.
        skipped: pattern of paths that are never used.
        backgrounds: pattern that a path must match to be taken as a background.
    """

    package: str
    kind: str = ""
    cutouts: str = "$^"
    skipped: str = "$^"
    backgrounds: str = "$^"


NPM_PACKAGE = "@lobehub/fluent-emoji-3d"
SOURCES = (
    Source("tuxpaint-stamps-default", "stamp", r"stamps/", r"symbols|/space/|alphabet|roadsign"),
    Source("flare-game", "portrait", r"portraits?/"),
    Source("wesnoth-1.16-data", "painting", r"/portraits/", r"transparent", r"/story/.*jpg$"),
    Source("gcompris-qt-data", "photo"),
    Source(NPM_PACKAGE, "emoji", r"assets/", r"1f1e6|-1f3f[bcef]"),
    Source(
        "naev-data",
        "render",
        r"gfx/(ship|outfit/(space|store))/",
        r"_comm|_engine|\.lua",
        r"planet/exterior",
    ),
    Source("endless-sky-data", "render", r"images/(ship|hardpoint)", r"effect", r"images/land"),
    Source("pysiogame", "drawing", r"match_animals"),
    Source("openclipart-png", "drawing", r"png/(animals|food|people|plants|recreation|transport)"),
    Source("plasma-workspace-wallpapers", backgrounds=r"\d+x\d+\.", skipped=r"440x|Patak"),
    Source("gnome-backgrounds", backgrounds=r"backgrounds"),
    Source("mate-backgrounds", backgrounds=r"backgrounds/mate/(nature|desktop|abstract)"),
    Source("ukui-wallpapers", backgrounds=r"backgrounds"),
    Source("lomiri-wallpapers-16.04", backgrounds=r"."),
    Source("lomiri-wallpapers-20.04", backgrounds=r"."),
    Source("renpy-demo", "drawing", r"game/images/(lucy|eileen)", "gui", r"images/.*(jpg|bg)"),
    Source("renpy-thequestion", "drawing", r"game/images/sylvie", "gui", r"images/.*(jpg|bg)"),
)
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
_CARVED_START = re.compile(
    rb"RIFF....WEBPVP8|\xff\xd8\xff[\xe0\xe1\xdb\xee]|\x89PNG\r\n\x1a\n", re.DOTALL
)


def folder_of(data: Path, source: Source) -> Path:
    """The folder that a package is unpacked into."""
    return data / "raw" / source.package.rpartition("/")[2]


def fetch(data: Path, source: Source) -> None:
    """Download and unpack one package; nothing to do when its folder is already there."""
    target = folder_of(data, source)
    if target.exists():
        return
    archives = data / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    if source.package == NPM_PACKAGE:
        command = ["npm", "pack", "--silent", source.package]
        name = subprocess.run(command, cwd=archives, check=True, capture_output=True, text=True)
        with tarfile.open(archives / name.stdout.split()[-1]) as archive:
            archive.extractall(partial, filter="data")
    else:
        subprocess.run(["apt-get", "download", source.package], cwd=archives, check=True)
        package_file = max(archives.glob(f"{source.package}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(package_file), str(partial)], check=True)
    for bundle in sorted(partial.rglob("*.rcc")):
        carve(bundle, partial / "carved")
    partial.rename(target)


def carve(bundle: Path, output: Path) -> None:
    """Take the images out of a Qt resource file, where each is stored after its length."""
    output.mkdir(exist_ok=True)
    content = bundle.read_bytes()
    for match in _CARVED_START.finditer(content):
        start = match.start()
        length = int.from_bytes(content[start - 4 : start], "big")
        if 1500 < length < len(content):
            suffix = {b"R": "webp", b"\xff": "jpg", b"\x89": "png"}[content[start : start + 1]]
            path = output / f"{bundle.stem}_{start}.{suffix}"
            path.write_bytes(content[start : start + length])


def main() -> None:
    """Fetch every source into the folder given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder for downloads, outside the repository")
    data = parser.parse_args().data
    for source in SOURCES:
        fetch(data, source)
        print(f"{source.package}: {folder_of(data, source)}", flush=True)


if __name__ == "__main__":
    main()
