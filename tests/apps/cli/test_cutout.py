import contextlib
import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from birefnet_apps.cli import main as cli
from birefnet_models.base.extras import missing_extra
from birefnet_runtime.model.locate import ModelFile
from click.testing import CliRunner
from PIL import Image
from PIL.ExifTags import IFD, Base


def run(*arguments: object):
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


@pytest.fixture
def photo(tmp_path, picture) -> Path:
    path = tmp_path / "photo.jpg"
    Image.fromarray(picture).save(path, quality=100, subsampling=0)
    return path


def test_a_file_becomes_a_transparent_png(model, photo, tmp_path, picture):
    result = run("cutout", photo, "--output", tmp_path / "cut.png", "--model", model)

    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("birefnet: 1 cutout in ")
    assert result.stderr.endswith(f": {tmp_path / 'cut.png'}\n")
    cut = Image.open(tmp_path / "cut.png")
    assert cut.mode == "RGBA"
    pixels = np.asarray(cut)
    np.testing.assert_allclose(pixels[:, :18, :3], picture[:, :18], atol=6)
    assert pixels[:, :18, 3].min() == 255
    assert pixels[:, 22:, 3].max() == 0


def test_mask_alone(model, photo, tmp_path):
    result = run("cutout", photo, "-o", tmp_path / "mask.png", "-m", model, "--mask")

    assert result.exit_code == 0
    assert "1 mask in " in result.stderr
    mask = Image.open(tmp_path / "mask.png")
    assert (mask.mode, mask.size) == ("L", (80, 48))
    assert np.asarray(mask)[0, 0] == 255


def test_refine_looks_twice_at_a_small_subject(model, tmp_path):
    image = np.zeros((480, 600, 3), np.uint8)
    image[100:140, 450:500] = 255
    Image.fromarray(image).save(tmp_path / "small.png")
    errors = {}

    for options in ([], ["--refine"]):
        result = run("cutout", tmp_path / "small.png", "-o", tmp_path / "mask.png", "-m", model,
                     "--mask", *options)  # fmt: skip
        assert result.exit_code == 0, result.stderr
        mask = np.asarray(Image.open(tmp_path / "mask.png"))
        errors[tuple(options)] = np.count_nonzero((mask > 127) != (image[..., 0] > 127))

    assert errors["--refine",] < errors[()] / 2


def test_a_folder_goes_on_after_a_bad_file(model, photo, tmp_path, picture):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/c.webp"):
        Image.fromarray(picture).save(folder / name)
    (folder / "b.jpg").write_bytes(b"no image")

    result = run("cutout", folder, tmp_path / "gone.jpg", "-o", tmp_path / "out", "-m", model)

    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert [line for line in lines if "b.jpg" in line] == [
        f"birefnet: {folder / 'b.jpg'}: not an image, or of a format that Pillow doesn't read"
    ]
    assert [line for line in lines if "gone.jpg" in line] == [
        f"birefnet: {tmp_path / 'gone.jpg'}: no such file or directory"
    ]
    assert lines[-1].startswith("birefnet: 2 cutouts in ")
    assert lines[-1].endswith(f", 2 failed: {tmp_path / 'out'}")
    assert "4/4" in result.stderr, "a progress bar"
    assert sorted((tmp_path / "out").rglob("*.*")) == [
        tmp_path / "out" / "a.png",
        tmp_path / "out" / "sub" / "c.png",
    ]


def test_lines_and_the_bar_keep_apart_on_a_terminal(model, tmp_path, picture):
    """Each line begins where the bar was wiped away, and none is lost."""
    for name in ("a.png", "c.png"):
        Image.fromarray(picture).save(tmp_path / name)
    (tmp_path / "b.png").write_bytes(b"no image")
    command = [sys.executable, "-c", "from birefnet_apps.cli.main import main; main()", "cutout"]
    terminal, ours = pty.openpty()
    process = subprocess.Popen(
        [*command, tmp_path, "-o", tmp_path / "out", "-m", model, "--size", "256"],
        stderr=ours,
        stdout=ours,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
    )
    os.close(ours)
    written = b""
    with contextlib.suppress(OSError):  # how a closed terminal ends on Linux
        while chunk := os.read(terminal, 65536):
            written += chunk
    os.close(terminal)

    assert process.wait() == 1
    lines = [
        line
        for line in re.split(r"[\r\n]+|\x1b\[[?0-9]*[Khl]", written.decode())
        if "birefnet" in line
    ]
    assert [line.partition(":")[0] for line in lines] == ["birefnet"] * 3
    assert "b.png" in lines[1]


def test_one_file_has_no_progress_bar(model, photo, tmp_path):
    assert "1/1" not in run("cutout", photo, "-o", tmp_path / "a.png", "-m", model).stderr


def test_the_input_is_never_overwritten(model, tmp_path, picture):
    path = tmp_path / "photo.png"
    Image.fromarray(picture).save(path)
    before = path.read_bytes()
    (tmp_path / "link.png").symlink_to(path)

    for output in (path, tmp_path / "link.png", tmp_path):
        result = run("cutout", path, "-o", output, "-m", model)
        assert result.exit_code == 1
        assert "an input; not" in result.stderr
        assert path.read_bytes() == before


def test_exif_orientation_reaches_the_cutout(model, tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture).save(tmp_path / "turned.jpg", exif=exif)

    run("cutout", tmp_path / "turned.jpg", "-o", tmp_path / "out.png", "-m", model)

    cut = Image.open(tmp_path / "out.png")
    assert cut.size == (48, 80)
    assert 0x0112 not in cut.getexif()


@pytest.mark.parametrize(
    ("option", "rights", "place"),
    [(None, "(c) Ada", {}), ("--keep-gps", "(c) Ada", {1: "N"}), ("--strip", None, {})],
)
def test_what_the_photograph_says_of_itself_goes_along(
    model, tmp_path, picture, option, rights, place
):
    exif = Image.Exif()
    exif[Base.Copyright] = "(c) Ada"
    exif[IFD.GPSInfo] = {1: "N"}
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=exif)

    result = run(
        *("cutout", tmp_path / "a.jpg", "-o", tmp_path / "cut.avif", "-m", model),
        *([option] if option else []),
    )

    assert result.exit_code == 0, result.stderr
    with Image.open(tmp_path / "cut.avif") as cut:
        assert (cut.format, cut.mode, cut.size) == ("AVIF", "RGBA", (80, 48))
        assert cut.getexif().get(Base.Copyright) == rights
        assert cut.getexif().get_ifd(IFD.GPSInfo) == place


def test_without_a_model_one_line_says_that_nano_is_a_demonstration(
    photo, tmp_path, monkeypatch, model
):
    monkeypatch.setattr("birefnet_runtime.segmenter.find_model", lambda name: ModelFile(model))

    result = run("cutout", photo, "-o", tmp_path / "out.png")

    assert result.exit_code == 0
    (line,) = [line for line in result.stderr.splitlines() if "nano" in line]
    assert "demonstration model" in line
    assert "BiRefNet_lite or larger" in line
    assert "nano" not in run("cutout", photo, "-o", tmp_path / "out.png", "-m", model).stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "nope.onnx"], "birefnet: nope.onnx: no such file"),
        (["--size", "100"], "birefnet: height and width must be multiples of 32, not 100x100"),
        (["--output", "out.jpg"], "birefnet: JPEG has no transparency; give a background"),
    ],
)
def test_what_stops_everything_is_one_line_and_exit_code_1(model, photo, tmp_path, arguments, says):
    result = run("cutout", photo, "--output", tmp_path / "out.png", "--model", model, *arguments)

    assert result.exit_code == 1
    assert result.stderr.startswith(says)
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("arguments", [["--size", "big"], ["--threads", "0"], ["--sise", "32"]])
def test_a_wrong_option_is_a_usage_error(photo, tmp_path, arguments):
    result = run("cutout", photo, "--output", tmp_path / "out.png", *arguments)

    assert result.exit_code == 2
    assert "Usage: " in result.stderr


@pytest.mark.filterwarnings("always::birefnet_runtime.SizeWarning")
def test_a_size_far_off_is_one_line_for_the_whole_run(model, tmp_path, picture):
    for name in ("a.png", "b.png"):
        Image.fromarray(picture).save(tmp_path / name)

    result = run(
        "cutout", tmp_path / "a.png", tmp_path / "b.png", "-o", tmp_path / "out", "-m", model,
        "--size", "256",
    )  # fmt: skip

    assert result.exit_code == 0
    assert result.stderr.count("trained at 64x64; at 256x256") == 1
    assert "SizeWarning" not in result.stderr


def test_a_place_that_cannot_be_made_is_a_line(model, photo, tmp_path):
    (tmp_path / "file").write_bytes(b"")

    result = run("cutout", photo, "-o", tmp_path / "file" / "out.png", "-m", model)

    assert result.exit_code == 1
    assert f"{tmp_path / 'file'}: can't be made" in result.stderr


def test_a_folder_that_cannot_be_read_is_a_line(model, tmp_path, monkeypatch):
    locked = tmp_path / "in" / "locked"
    locked.mkdir(parents=True)
    real = os.scandir

    def scandir(path):  # the tests may run as root, who may read everything
        if os.fspath(path) == str(locked):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)

    result = run("cutout", tmp_path / "in", "-o", tmp_path / "out", "-m", model)

    assert result.exit_code == 1
    assert f"birefnet: {locked}: permission denied" in result.stderr


def test_standard_input_to_standard_output(model, photo):
    result = CliRunner().invoke(
        cli.main,
        ["cutout", "-", "-o", "-", "-m", str(model), "--format", "webp", "--lossless"],
        input=photo.read_bytes(),
    )

    assert result.exit_code == 0, result.stderr
    with Image.open(io.BytesIO(result.stdout_bytes)) as cut:
        assert (cut.format, cut.mode, cut.size) == ("WEBP", "RGBA", (80, 48))


def test_standard_input_that_is_no_image_is_an_error(model):
    result = CliRunner().invoke(cli.main, ["cutout", "-", "-o", "-", "-m", str(model)], input=b"x")

    assert result.exit_code == 1
    assert "standard input: not an" in result.stderr
    assert result.stdout_bytes == b""


def test_a_list_of_files_on_standard_input(model, photo, tmp_path):
    result = CliRunner().invoke(
        cli.main,
        ["cutout", "--files-from", "-", "-o", str(tmp_path / "out"), "-m", str(model)],
        input=f"{photo}\n{tmp_path / 'none.jpg'}\n",
    )

    assert result.exit_code == 1
    assert f"birefnet: {tmp_path / 'none.jpg'}: no such file" in result.stderr
    assert (tmp_path / "out" / "photo.png").exists()


def test_a_json_line_for_each_file_and_nothing_else_on_standard_output(model, tmp_path, picture):
    (tmp_path / "in").mkdir()
    Image.fromarray(picture).save(tmp_path / "in" / "a.png")
    Image.fromarray(picture * 0).save(tmp_path / "in" / "b.png")
    (tmp_path / "in" / "c.png").write_bytes(b"no image")

    result = run("cutout", tmp_path / "in", "-o", tmp_path / "out", "-m", model, "--json")

    a, b, c = [json.loads(line) for line in result.stdout.splitlines()]
    assert a["output"] == str(tmp_path / "out" / "a.png")
    assert (a["found"], a["image_size"], a["model_size"]) == (True, [48, 80], [64, 64])
    assert a["box"][:2] == [0, 0]
    assert set(a["seconds"]) == {"read", "run", "compose", "write"}
    assert (b["found"], b["box"]) == (False, None)
    assert "not an image" in c["error"]
    assert f"birefnet: {tmp_path / 'in' / 'b.png'}: no subject found" in result.stderr


def test_skip_existing_goes_on_where_it_stopped(model, tmp_path, picture):
    for name in ("a.jpg", "b.jpg"):
        Image.fromarray(picture).save(tmp_path / name)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_bytes(b"there")

    result = run("cutout", tmp_path, "-o", tmp_path / "out", "-m", model, "--skip-existing")

    assert result.exit_code == 0, result.stderr
    assert "1 cutout in " in result.stderr
    assert ", 1 there already: " in result.stderr
    assert (tmp_path / "out" / "a.png").read_bytes() == b"there"


@pytest.mark.parametrize(
    ("arguments", "mode", "size"),
    [
        (["--background", "#102030"], "RGB", (80, 48)),
        (["--background", "blur", "--shadow", "drop"], "RGB", (80, 48)),
        (["--crop", "--margin", "0"], "RGBA", (20, 48)),
        (["--canvas", "60x90", "--padding", "10% 5px", "--position", "0%"], "RGBA", (60, 90)),
        (["--canvas", "3:1", "--padding", "0", "--mask"], "L", (144, 48)),
        (["--clean", "main", "--background", "white"], "RGB", (80, 48)),
        (["--mask", "--depth", "16"], "I;16", (80, 48)),
        (["--premultiply"], "RGBA", (80, 48)),
    ],
)
def test_options_of_the_result(model, photo, tmp_path, arguments, mode, size):
    result = run("cutout", photo, "-o", tmp_path / "out.png", "-m", model, *arguments)

    assert result.exit_code == 0, result.stderr
    with Image.open(tmp_path / "out.png") as cut:
        assert cut.mode == mode
        assert cut.height == size[1]
        assert abs(cut.width - size[0]) <= 2, "the edge is a ramp of some pixels"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-o", "-", "--json"], "can't both go to standard output"),
        (["-o", "out", "--margin", "-1"], "margin"),
        (["-o", "out", "--quality", "0"], "quality"),
        (["-o", "out", "--canvas", "100"], "'--canvas': '100' is not a canvas; give WxH"),
        (["-o", "out", "--padding", "5%"], "are of a canvas; give --canvas"),
        (["-o", "out", "--clean", "all"], "'--clean': 'all' is not something to clean"),
    ],
)
def test_options_that_do_not_go_together(photo, arguments, says):
    result = run("cutout", photo, *arguments)

    assert result.exit_code == 2
    assert says in result.stderr


def test_nothing_to_cut_out_is_a_usage_error(tmp_path):
    assert run("cutout", "-o", tmp_path).exit_code == 2


INTERRUPTED = """
import os, signal, sys, threading
from birefnet_runtime.model.locate import ModelFile
from birefnet_runtime import segmenter
real = segmenter.Segmenter.run
def run(self, tensors):
    if (counted := globals().get("counted", 0) + 1) == 3:
        os.kill(os.getpid(), signal.SIGINT)
    globals()["counted"] = counted
    return real(self, tensors)
segmenter.Segmenter.run = run
from birefnet_apps.cli.main import main
main()
"""


def test_ctrl_c_finishes_what_is_in_hand_and_says_where_it_stopped(model, tmp_path, picture):
    names = [f"{number:02}.png" for number in range(20)]
    (tmp_path / "in").mkdir()
    for name in names:
        Image.fromarray(picture).save(tmp_path / "in" / name)

    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "cutout", tmp_path / "in", "-o", tmp_path / "out",
         "-m", model],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 130, done.stderr
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == names[:3], "whole files, in order, and nothing else"
    for name in written:
        with Image.open(tmp_path / "out" / name) as cut:
            cut.load()
    assert f"stopped before {tmp_path / 'in' / names[3]}" in done.stderr
    assert "--skip-existing" in done.stderr


def test_without_onnxruntime_one_line_says_what_to_install(model, photo, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    result = run("cutout", photo, "-o", tmp_path / "out.png", "-m", model)

    assert result.exit_code == 1
    assert result.stderr == f"birefnet: {missing_extra('onnxruntime')}\n"
