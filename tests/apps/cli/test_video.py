"""The command; what it calls is tested in `tests/apps/video/test_convert.py`."""

import shutil
import subprocess

import pytest
from birefnet_apps.cli.main import main
from click.testing import CliRunner

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg isn't installed")


@pytest.fixture
def film(tmp_path):
    """Ten frames of noise, whose index stands first."""
    path = tmp_path / "film.mp4"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i"]
    command += ["nullsrc=s=64x48:r=10:d=1,geq=random(1)*255:128:128", "-c:v", "libx264", "-g", "5"]
    subprocess.run([*command, "-movflags", "faststart", path], check=True)
    return path


def video(*arguments: object, content: bytes = b""):
    return CliRunner().invoke(main, ["video", *map(str, arguments)], input=content)


def test_a_film_becomes_one_with_alpha(model, film, tmp_path):
    done = video(film, "-o", tmp_path / "out.webm", "-m", model, "--clean", "main")

    assert done.exit_code == 0, done.stderr
    assert "10/10" in done.stderr, "a progress bar"
    assert done.stderr.endswith(f"birefnet: 10 frames: {tmp_path / 'out.webm'}\n")
    assert (tmp_path / "out.webm").stat().st_size > 500


def test_a_damaged_film_is_a_line_with_its_frame(model, film, tmp_path):
    content = film.read_bytes()
    film.write_bytes(content[: len(content) * 2 // 3])

    done = video(film, "-o", tmp_path / "out.webm", "-m", model)

    assert done.exit_code == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("birefnet: ")]
    assert line.startswith(f"birefnet: {film}: damaged after frame ")
    assert line.endswith("; nothing was written")
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_an_output_of_another_kind_is_a_line(model, film, tmp_path):
    done = video(film, "-o", tmp_path / "out.mp4", "-m", model)

    assert done.exit_code == 1
    assert ".mov or .webm" in done.stderr


def test_a_film_on_standard_input_becomes_frames_on_standard_output(model, film, tmp_path):
    done = video("-", "-o", "-", "-m", model, "--smooth", content=film.read_bytes())

    assert done.exit_code == 0, done.stderr
    assert len(done.stdout_bytes) == 10 * 64 * 48 * 4
    assert done.stderr.endswith("birefnet: 10 frames\n")
    assert "10/10" in done.stderr, "a progress bar"


def test_bare_frames_in_masks_out(model):
    done = video("-", "--raw", "64x48@10", "-o", "-", "-m", model, "--mask", content=bytes(27648))

    assert done.exit_code == 0, done.stderr
    assert done.stdout_bytes == bytes(3 * 64 * 48)


def test_what_is_wrong_with_standard_input_is_a_line(model, film, tmp_path):
    for content, options, says in (
        (b"", (), "standard input: there is no video in it"),
        (b"no film", (), "standard input: ffmpeg can't read it: "),
        (bytes(9217), ("--raw", "64x48@10"), "standard input: ends within frame 2, after 1 of the"),
        (film.read_bytes()[:1500], (), "standard input: "),
    ):
        done = video("-", *options, "-o", tmp_path / "x.mov", "-m", model, content=content)

        assert done.exit_code == 1
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("birefnet: ")]
        assert line.startswith(f"birefnet: {says}")
        assert not (tmp_path / "x.mov").exists()


def test_raw_is_of_standard_input_only(film, tmp_path):
    done = video(film, "--raw", "64x48@10", "-o", tmp_path / "x.mov")

    assert done.exit_code == 2
    assert "give - as INPUT" in done.stderr
