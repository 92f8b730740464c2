"""Damaged and odd inputs for `studies.runs.fuzz`, each drawn from its number alone.

A case writes its files into the folder it is given and returns the arguments of `birefnet`. Files
are mutations of sound ones: photographs in many formats, nano's graph and metadata, and checkpoints
of a small network.
"""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import birefnet_models
import click
import numpy as np
import onnx
from birefnet_apps.cli.main import main as birefnet
from birefnet_export.network.architecture import Architecture
from birefnet_export.network.backbone.swin_v1 import SwinV1
from PIL import Image

from studies.runs.fuzz_pictures import color_chunks, others, with_checksums
from studies.runs.fuzz_stores import register, store_case

ROOT = Path(__file__).parents[3]
PHOTO = ROOT / "examples" / "photos" / "china.jpg"


def words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


NUMBERS = words("0 -1 1 2 7 32 33 99999999999999999999 1e400 nan inf -inf 0x10 1_000 1.5")
WORDS = words("true null none auto ü 日本 a/b .. ~ cpu cpu,cpu tensorrt:1 cpu: , a:b - %s {} \\")
SIZES = words("32x32 32x x32 0x32 -32x32 32x1000000000 64x32,32x64 1024x1024x3 1G 1GB")
COLORS = words("#fff #12345 red rgb(1,2,3) rgb(1e9,0,0) checkerboard photo.jpg missing.jpg")
NAMES = words("png jpeg JPG .webp tiff exe https://[::bad file:///etc")
ODD_VALUES = ("", "a" * 300, "\x1b[31mred", *NUMBERS, *WORDS, *SIZES, *COLORS, *NAMES)
"""Values that options are given, sound ones of other options among them."""
LISTS = ("[]", "{}", "[1, 2]", "[0, 0, 0]", "[1, 2, 3]", '["a", 1, 2]', "[NaN, 1, 1]")
RANGES = words("0x0 16x16 1000000000x1000000000 64x64-32x32 32x32-2048x2048 logits mask")
METADATA_VALUES = ("", "[" * 5000, "9" * 5000, "\0", "16", "1e9", *NUMBERS, *WORDS, *LISTS, *RANGES)
BOTH_SIDES = (0, True, 10**9, float("inf"))
PREPROCESSOR_VALUES: tuple[object, ...] = (
    *(0, -1, 1e9, float("inf"), float("nan"), True, None, "abc", [], {}, [0, 0, 0], [1, 2], 64),
    *({"height": side, "width": side} for side in BOTH_SIDES),
    *({"shortest_edge": 64}, {"height": 64, "width": 96}),
)


def image_case(random: Random, folder: Path) -> list[str]:
    """A damaged or odd picture, cut out."""
    name, content = random.choice(pictures())
    file = folder / f"photo.{name}"
    damaged = mutated(random, content) if random.random() < 0.8 else content
    file.write_bytes(with_checksums(damaged) if random.random() < 0.5 else damaged)
    extra: tuple[list[str], ...] = (
        *([], [], [], ["--mask"], ["--background", "red"], ["--depth", "16"], ["--all-frames"]),
        *(["--premultiply"], ["--crop"], ["--foreground", "fast"], ["--recursive"]),
    )
    suffix = random.choice([".png", ".png", ".webp", ".tif", ".jpg"])
    options = random.choice(extra)
    return ["cutout", str(file), "--output", str(folder / f"cutout{suffix}"), *options]


def video_case(random: Random, folder: Path) -> list[str]:
    """A damaged video, most often where its tracks are described, cut out."""
    name, content = random.choice(_videos())
    head = random.choice([512, 4096, len(content)])
    damaged = mutated(random, content[:head]) + content[head:]
    if random.random() < 0.3:
        damaged = content[:-head] + mutated(random, content[-head:])
    (folder / name).write_bytes(damaged)
    target = random.choice([".mov", ".webm"])
    extra = random.choice([[], [], ["--mask"], ["--smooth"]])
    return ["video", str(folder / name), "--output", str(folder / f"cutout{target}"), *extra]


def model_case(random: Random, folder: Path) -> list[str]:
    """A damaged or odd model file, run or inspected."""
    file = folder / "model.onnx"
    kind = random.randrange(4)
    if kind == 0:
        file.write_bytes(mutated(random, _nano_bytes()))
    elif kind == 1:  # where the structure is: at the beginning and in the facts at the end
        content = _nano_bytes()
        cut = random.choice([64, 4096, 65536])
        head = mutated(random, content[:cut]) + content[cut:]
        tail = content[:-cut] + mutated(random, content[-cut:])
        file.write_bytes(head if random.random() < 0.5 else tail)
    else:
        properties = dict(_nano_properties())
        if kind == 2:
            for _ in range(random.randint(1, 3)):
                key = random.choice([*properties, "birefnet.activation_bytes_per_pixel"])
                properties[key] = random.choice(METADATA_VALUES)
        else:
            properties = {}
            (folder / "preprocessor_config.json").write_text(_odd_preprocessor(random))
        file.write_bytes(_nano_with(properties))
    if random.random() < 0.3:
        return ["inspect", str(file)]
    size = random.choice([[], [], ["--size", "auto"], ["--size", "64"]])
    return [
        *("cutout", str(PHOTO), "--output", str(folder / "cutout.png"), "--model", str(file)),
        *size,
    ]


def checkpoint_case(random: Random, folder: Path) -> list[str]:
    """A damaged or odd checkpoint, inspected or exported."""
    suffix, content = random.choice(_checkpoints())
    file = folder / f"model{suffix}"
    head = random.choice([64, 1024, len(content)])
    file.write_bytes(mutated(random, content[:head]) + content[head:])
    if random.random() < 0.7:
        return ["inspect", str(file)]
    return ["export", str(file), "--output", str(folder / "out"), "--no-verify"]


def option_case(random: Random, folder: Path) -> list[str]:
    """A command with values that its options don't expect."""
    (folder / "photo.jpg").write_bytes(pictures()[0][1])
    context = click.Context(birefnet)
    name = str(
        random.choice(["cutout"] * 6 + ["models", "doctor", "video", "inspect", "export", "verify"])
    )
    command = birefnet.get_command(context, name)
    if command is None:
        raise LookupError(name)
    arguments = {
        "cutout": ["photo.jpg", "--output", "cutout.png"],
        "video": ["photo.jpg", "--output", "cutout.mov"],
        "inspect": ["photo.jpg"],
        "export": ["photo.jpg"],
        "verify": ["photo.jpg", "photo.jpg"],
    }.get(name, [])
    options = [p for p in command.params if isinstance(p, click.Option)]
    for _ in range(random.randint(1, 3)):
        option = random.choice(options)
        arguments.append(random.choice(option.opts))
        if not option.is_flag or random.random() < 0.02:
            arguments.append(random.choice(ODD_VALUES))
    return [name, *arguments]


def container_case(random: Random, folder: Path) -> list[str]:
    """A damaged picture of Photoshop's, a phone's, or a camera's."""
    kinds = [one for one in pictures() if one[0] in {"psd", "heic", "avif", "tif"}]
    name, content = random.choice(kinds)
    # Where the structure is: boxes and tags lie in the first part, and at the end of a TIFF.
    cut = random.choice([128, 1024, len(content)])
    whole = mutated(random, content[:cut]) + content[cut:]
    if random.random() < 0.3:
        whole = content[:-cut] + mutated(random, content[-cut:])
    (folder / f"photo.{name}").write_bytes(whole)
    extra = random.choice([[], ["--depth", "16"], ["--all-frames"], ["--mask"]])
    return [
        "cutout",
        f"photo.{name}",
        "--output",
        f"cutout{random.choice(['.png', '.tif'])}",
        *extra,
    ]


CASES: dict[str, tuple[Callable[[Random, Path], list[str]], float]] = {
    "images": (image_case, 0.25),
    "PSD, HEIF, AVIF, TIFF": (container_case, 0.15),
    "videos": (video_case, 0.05),
    "object stores": (store_case, 0.05),
    "model files": (model_case, 0.2),
    "checkpoints": (checkpoint_case, 0.1),
    "options": (option_case, 0.2),
}
"""Kinds of cases and the share of each."""


def mutated(random: Random, content: bytes) -> bytes:
    """Some bytes changed, most of them near the beginning, where the structure of files is."""
    data = bytearray(content)
    for _ in range(random.choice([1, 1, 2, 5])):
        reach = random.choice([32, 512, len(data), len(data)])
        at = random.randrange(max(1, min(len(data), reach)))
        length = random.choice([1, 2, 4, 16, 256])
        block = (
            random.randbytes(length),
            bytes(length),
            b"\xff" * length,
            b"\x7f\xff\xff\xff",
            content[at // 2 : at // 2 + length],
        )[random.randrange(5)]
        match random.randrange(6):
            case 0:
                del data[at:]
            case 1:
                data[at:at] = block
            case 2:
                del data[at : at + length]
            case 3 if data:
                data[at % len(data)] ^= 1 << random.randrange(8)
            case _:
                data[at : at + len(block)] = block
    return bytes(data)


def prepare() -> None:
    """Read and make what cases have in common, once."""
    pictures()
    _videos()
    register()
    _nano_bytes()
    _nano_properties()
    _checkpoints()


@cache
def pictures() -> Sequence[tuple[str, bytes]]:
    """A small photograph in many formats and modes, by suffix."""
    with Image.open(PHOTO) as opened:
        photo = opened.convert("RGB").resize((160, 107))
    alpha = photo.copy()
    alpha.putalpha(photo.convert("L"))
    deep = Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)
    frames: dict[str, object] = {
        "save_all": True,
        "append_images": [photo.rotate(90), photo.rotate(180)],
    }
    exif = Image.Exif()
    exif[0x0112] = 6
    profile: dict[str, object] = {"icc_profile": bytes(range(256)) * 2}
    kinds: list[tuple[str, Image.Image, str, dict[str, object]]] = [
        ("jpg", photo, "JPEG", {"exif": exif, **profile}),
        ("jpg", photo.convert("CMYK"), "JPEG", {}),
        ("jpg", photo.convert("L"), "JPEG", {"progressive": True}),
        ("png", photo, "PNG", profile),
        ("png", alpha, "PNG", {}),
        ("png", photo.quantize(16), "PNG", {"transparency": 3}),
        ("png", photo.convert("1"), "PNG", {}),
        ("png", deep, "PNG", {"transparency": 12345}),
        ("png", photo, "PNG", frames),
        ("tif", photo, "TIFF", {"compression": "tiff_lzw", **profile}),
        ("tif", alpha, "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("tif", deep, "TIFF", {}),
        ("tif", photo.convert("F"), "TIFF", {}),
        ("tif", photo.convert("CMYK"), "TIFF", {}),
        ("tif", photo, "TIFF", {"compression": "jpeg"}),
        ("webp", alpha, "WEBP", {"lossless": True, **profile}),
        ("webp", photo, "WEBP", frames),
        ("gif", photo.quantize(32), "GIF", {}),
        ("gif", photo, "GIF", frames),
        ("bmp", photo, "BMP", {}),
    ]
    encoded = []
    for suffix, image, kind, options in kinds:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        encoded.append((suffix, buffer.getvalue()))
    return [*encoded, *color_chunks(encoded[3][1]), *others(np.asarray(photo))]


@cache
def _videos() -> Sequence[tuple[str, bytes]]:
    """Short videos in several containers, with sound and tags."""
    found = []
    with TemporaryDirectory() as folder:
        for name, codecs in (
            ("a.mp4", "-c:v mpeg4 -c:a aac -metadata title=x -metadata location=+1+2/"),
            ("a.mov", "-c:v mpeg4 -c:a pcm_s16le -timecode 01:00:00:00"),
            ("a.mkv", "-c:v ffv1 -c:a flac"),
            ("a.mpg", "-c:v mpeg2video -c:a mp2 -flags +ilme+ildct"),
        ):
            path = Path(folder, name)
            command = "ffmpeg -v error -f lavfi -i testsrc=s=64x48:r=25:d=0.2"
            command += f" -f lavfi -i sine=d=0.2 {codecs} -fflags +bitexact"
            subprocess.run([*command.split(), path], check=True)
            found.append((name, path.read_bytes()))
    return found


@cache
def _nano_bytes() -> bytes:
    folder = Path(birefnet_models.__file__).parent / "embedded"
    return (folder / "nano.onnx").read_bytes()


@cache
def _nano_properties() -> tuple[tuple[str, str], ...]:
    return tuple((p.key, p.value) for p in onnx.load_from_string(_nano_bytes()).metadata_props)


def _nano_with(properties: dict[str, str]) -> bytes:
    """nano's graph with other facts."""
    model = onnx.load_from_string(_nano_bytes())
    model.ClearField("metadata_props")
    onnx.helper.set_model_props(model, properties)
    return bytes(model.SerializeToString())


def _odd_preprocessor(random: Random) -> str:
    """A `preprocessor_config.json` with some values that can't be, or none that can be parsed."""
    if random.random() < 0.15:
        return str(random.choice(["", "[]", "null", "{", "[" * 100_000, '{"size": 1e999}']))
    config: dict[str, object] = {
        "size": {"height": 64, "width": 64},
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "do_normalize": True,
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "resample": 2,
    }
    for _ in range(random.randint(1, 3)):
        key = random.choice(list(config))
        config[key] = random.choice(PREPROCESSOR_VALUES)
    return json.dumps(config)


@cache
def _checkpoints() -> Sequence[tuple[str, bytes]]:
    """A small network as safetensors and as PyTorch's archive and older pickle, by suffix."""
    import torch
    from birefnet_benchmarks.pytorch.birefnet import BiRefNet
    from safetensors.torch import save

    net = BiRefNet(
        Architecture(
            SwinV1(16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 4), window=4, mlp_hidden=40),
            decoder_width=8,
            aspp_width=12,
            patch_width=6,
            gradient_width=4,
        )
    )
    state = net.state_dict()
    files = [(".safetensors", save(state))]
    for content, archive in ((state, True), ({"model": state, "epoch": 3}, True), (state, False)):
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=archive)
        files.append((".pth", buffer.getvalue()))
    return files
