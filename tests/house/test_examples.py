"""Every example is short, says what to install, and runs as it says."""

import ast
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


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


def make_clip(path: Path) -> None:
    """Three frames, by ffmpeg."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg isn't installed")
    scene = "testsrc2=size=64x48:rate=12:duration=0.25"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", scene, "-c:v", "mpeg4", str(path)]
    subprocess.run(command, check=True)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs_as_it_says(example, tmp_path):
    for folder in ("examples", "models"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    _, *arguments = shlex.split(opening(example)[3])
    if "clip.mp4" in arguments:
        make_clip(tmp_path / "clip.mp4")

    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    written = [path for path in tmp_path.iterdir() if path.suffix in {".png", ".jpg"}]
    assert written or done.stdout
    for path in written:
        Image.open(path).load()


def test_every_photograph_has_its_license():
    stated = (ROOT / "examples/photos/README.md").read_text()

    photos = [path.name for path in (ROOT / "examples/photos").iterdir() if path.suffix != ".md"]
    assert photos
    for name in photos:
        assert f"`{name}`" in stated
