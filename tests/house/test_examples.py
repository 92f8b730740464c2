"""Every example is short, says what to install, and does what it says.

What is right is known without the runtime: the outlines in models/nano/real were drawn by hand.
"""

import ast
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .kserve_server import serving

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PHOTOS = ROOT / "examples/photos"
SHARE = r"(\d+)% of the picture is subject"


def opening(example: Path) -> list[str]:
    docstring = ast.get_docstring(ast.parse(example.read_text()))
    assert docstring
    return docstring.splitlines()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_short_and_opens_with_its_install_line(example):
    assert len(example.read_text().splitlines()) < 40
    task, _, install, command = opening(example)
    assert task.endswith(".")
    assert install.startswith("pip install 'birefnet-ort[")
    assert command.startswith(f"python examples/{example.name} ")


def test_every_example_is_run_here():
    source = Path(__file__).read_text(encoding="utf-8")

    for example in EXAMPLES:
        assert f'run("{example.stem}"' in source


@pytest.fixture
def run(tmp_path):
    """Run an example in an empty folder as its docstring says; returns the lines it prints."""
    for folder in ("examples", "models"):
        (tmp_path / folder).symlink_to(ROOT / folder)

    def run_example(name, replaced=("", ""), *, quiet=True):
        command = opening(ROOT / f"examples/{name}.py")[3].replace(*replaced)
        _, *arguments = shlex.split(command)
        done = subprocess.run(
            [sys.executable, *(["-W", "error"] if quiet else []), *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr if quiet else "") == (0, ""), done.stderr
        return done.stdout.splitlines()

    return run_example


def photo(name):
    """uint8 (H, W, 3) RGB."""
    return np.asarray(Image.open(PHOTOS / f"{name}.jpg").convert("RGB"))


def truth(name):
    """bool (H, W): the subject as it was outlined by hand."""
    outlined = Image.open(ROOT / f"models/nano/real/{name}.png").convert("L")
    return np.asarray(outlined.resize(photo(name).shape[1::-1])) > 127


def iou(mask, name):
    return (mask & truth(name)).sum() / (mask | truth(name)).sum()


def assert_share(line, name, start=""):
    """A line says how much of a photograph is subject, within five hundredths."""
    match = re.fullmatch(start + SHARE, line)
    assert match, line
    assert int(match[1]) / 100 == pytest.approx(truth(name).mean(), abs=0.05)


def test_cut_out(run, tmp_path):
    (line,) = run("cut_out")

    assert_share(line, "flower", "cutout.png: ")
    with Image.open(tmp_path / "cutout.png") as cutout:
        assert cutout.mode == "RGBA"
        pixels = np.asarray(cutout)
    assert iou(pixels[..., 3] > 127, "flower") > 0.8
    inside = pixels[..., 3] == 255
    np.testing.assert_array_equal(pixels[inside, :3], photo("flower")[inside])


def test_cut_out_video(run, tmp_path):
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg isn't installed")
    scene = "testsrc2=size=64x48:rate=12:duration=0.25"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", scene, "-c:v", "mpeg4"]
    subprocess.run([*command, str(tmp_path / "clip.mp4")], check=True)

    assert run("cut_out_video") == ["clip.webm: 3 frames"]

    # VP9 carries its alpha apart; the decoder of the library, unlike ffmpeg's own, reads it.
    command = ["ffmpeg", "-v", "error", "-c:v", "libvpx-vp9", "-i", str(tmp_path / "clip.webm")]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgba", "-"]
    frames = subprocess.run([*command, *raw], check=True, capture_output=True).stdout
    assert len(frames) == 3 * 48 * 64 * 4


@pytest.mark.slow
def test_export_checkpoint(run, tmp_path):
    written, parity, share = run("export_checkpoint")

    assert re.fullmatch(r"nano-onnx/onnx/model\.onnx: swin, opset 23, \d{3,4} nodes", written)
    difference = re.fullmatch(r"logits differ by (\S+) at most", parity)
    assert difference
    assert 0 < float(difference[1]) < 1e-4
    assert_share(share, "china")
    assert (tmp_path / "nano-onnx/onnx/model.onnx").stat().st_size > 9_000_000


def test_graph_alone(run):
    china, flower = run("graph_alone")

    assert_share(china, "china", "examples/photos/china.jpg: ")
    assert_share(flower, "flower", "examples/photos/flower.jpg: ")


def test_many_images(run):
    china, flower = run("many_images")

    assert_share(china, "china", r"china\.jpg: ")
    assert_share(flower, "flower", r"flower\.jpg: ")


def test_own_pipeline(run, tmp_path):
    assert run("own_pipeline") == []

    with Image.open(tmp_path / "on-gray.png") as mixed:
        assert mixed.mode == "RGB"
        pixels = np.asarray(mixed)
    assert tuple(pixels[5, 5]) == (128, 128, 128)
    assert tuple(pixels[200, 300]) == tuple(photo("flower")[200, 300])
    assert iou((pixels != 128).any(axis=2), "flower") > 0.6  # the soft edge counts in full


def test_product_shot(run, tmp_path):
    (line,) = run("product_shot")

    match = re.fullmatch(r"product\.jpg: (\d+) x (\d+), box \((\d+), (\d+), (\d+), (\d+)\)", line)
    assert match
    width, height, *box = map(int, match.groups())
    with Image.open(tmp_path / "product.jpg") as product:
        assert (product.format, product.size) == ("JPEG", (width, height))
        pixels = np.asarray(product)
    assert (pixels[0, 0] > 250).all()
    top, left, bottom, right = box
    assert (width, height) == (1000, 1000)
    shown_rows, shown_columns = np.nonzero((pixels < 180).any(axis=2))
    assert (shown_rows.min(), shown_rows.max()) == pytest.approx((50, 950), abs=20)
    wide = 900 / (bottom - top) * (right - left)
    assert shown_columns.min() >= 500 - wide / 2 - 20
    assert shown_columns.max() <= 500 + wide / 2 + 20
    rows, columns = np.nonzero(truth("flower"))
    assert top == pytest.approx(rows.min(), abs=20)
    assert (left, bottom) == (pytest.approx(columns.min(), abs=20), photo("flower").shape[0])


@pytest.mark.slow
def test_ray_pipeline(run, tmp_path):
    china, flower = run("ray_pipeline", quiet=False)  # Ray tells what it does

    assert_share(china, "china", r"china\.jpg: ")
    assert_share(flower, "flower", r"flower\.jpg: ")
    with Image.open(tmp_path / "cutouts" / "flower.png") as cutout:
        assert iou(np.asarray(cutout)[..., 3] > 127, "flower") > 0.8


def test_replace_background(run, tmp_path):
    assert run("replace_background") == []

    names = ("on-blue", "elsewhere", "portrait")
    blue, elsewhere, portrait = (
        np.asarray(Image.open(tmp_path / f"{name}.jpg"), np.int16) for name in names
    )
    flower, china = photo("flower").astype(np.int16), photo("china").astype(np.int16)
    background = np.s_[:60]  # above the flower, in all of the picture's width
    assert np.abs(blue[background] - (40, 90, 200)).mean() < 2
    assert np.abs(elsewhere[background] - china[background]).mean() < 3  # of the same size
    assert portrait[background].std(axis=1).mean() < flower[background].std(axis=1).mean()
    assert np.abs(portrait[background] - flower[background]).mean() < 12  # its own colors
    for composed in (blue, elsewhere, portrait):
        assert np.abs(composed[170:230, 270:330] - flower[170:230, 270:330]).mean() < 8  # JPEG


def test_small_subject(run, tmp_path):
    (line,) = run("small_subject")

    assert_share(line, "flower", r"mask\.png: ")
    with Image.open(tmp_path / "mask.png") as mask:
        assert (mask.mode, mask.size) == ("L", (640, 427))


def test_subjects_box(run):
    skipped, china, flower = run("subjects_box")

    assert skipped.startswith("skipped examples/photos/README.md: not an image")
    for line, name in ((china, "china"), (flower, "flower")):
        match = re.fullmatch(rf"{name}\.jpg: rows (\d+) to (\d+), columns (\d+) to (\d+)", line)
        assert match, line
        top, bottom, left, right = map(int, match.groups())
        rows, columns = np.nonzero(truth(name))
        assert (top, bottom) == pytest.approx((rows.min(), rows.max()), abs=20)
        assert left <= columns.min() + 5
        assert right >= columns.max() - 5


def test_triton_client(run, tmp_path):
    """Over HTTP, against a server of the protocol; Triton itself and gRPC have not been run."""
    with serving("nano-pixels", lambda image: np.ascontiguousarray(image[..., 0])) as url:
        assert run("triton_client", ("http://localhost:8000", url)) == []

    alpha = np.asarray(Image.open(tmp_path / "flower-alpha.png"))
    np.testing.assert_array_equal(alpha, photo("flower")[..., 0])


def test_video_mask(run, tmp_path):
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg isn't installed")
    scene = "testsrc2=size=64x48:rate=12:duration=0.25"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", scene, "-c:v", "mpeg4"]
    subprocess.run([*command, str(tmp_path / "clip.mp4")], check=True)

    assert run("video_mask") == ["mask.webm: 3 frames"]

    command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "mask.webm")]
    raw = ["-f", "rawvideo", "-pix_fmt", "gray", "-"]
    frames = subprocess.run([*command, *raw], check=True, capture_output=True).stdout
    assert len(frames) == 3 * 48 * 64


def test_every_photograph_has_its_license():
    stated = (ROOT / "examples/photos/README.md").read_text()

    photos = [path.name for path in (ROOT / "examples/photos").iterdir() if path.suffix != ".md"]
    assert photos
    for name in photos:
        assert f"`{name}`" in stated
