"""How the fuzz run sorts what it sees, and that its cases are drawn from their numbers alone."""

import io
import os
import shutil
import signal
import time
from random import Random

import pytest
from PIL import Image
from studies.runs import fuzz, fuzz_cases

MARKS = {
    "checkpoints": pytest.mark.pytorch,
    "videos": pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg isn't installed"),
}
SOUND = "birefnet: x.jpg: the image is damaged\nbirefnet: 0 cutouts in 1 s, 1 failed\n"
USAGE = "Usage: birefnet cutout\nTry 'birefnet cutout -h' for help.\n\nError: no such option\n"
TRACEBACK = "Traceback (most recent call last):\n  File ...\nKeyError: 1\n"


@pytest.mark.parametrize(
    ("said", "ending", "outcome"),
    [
        (SOUND, lambda: 1, "refused in one line"),
        (USAGE, lambda: 2, "refused in one line"),
        ("birefnet: 1 cutout in 1 s\n", lambda: 0, "right"),
        ("cutting out ━━ 3/3\nbirefnet: 3 frames: a.mov\n", lambda: 0, "right"),
        ("", lambda: 1, "refused without a word"),
        (TRACEBACK, lambda: 1, "traceback"),
        ("libtiff: bad\n", lambda: 0, "other lines"),
        ("birefnet: \x1b[31m: no such file\n", lambda: 1, "control characters"),
        ("", lambda: os.kill(os.getpid(), signal.SIGKILL), "crash"),
        ("", lambda: time.sleep(60), "hang"),
        ("", lambda: time.sleep(60), "memory over the limit"),
    ],
)
def test_outcomes(tmp_path, monkeypatch, said, ending, outcome):
    def run_case(case, seed, folder):
        (folder / "stderr").write_text(said)
        return ending()

    monkeypatch.setattr(fuzz, "run_case", run_case)
    monkeypatch.setattr(fuzz, "TIMEOUT_S", 1.0 if outcome == "hang" else 60.0)

    if outcome == "memory over the limit":
        monkeypatch.setattr(fuzz, "MEMORY_BYTES", 1000)

    (result,) = fuzz.run_all([fuzz.Case("images", 0)], 0, tmp_path)
    assert result.outcome == outcome
    assert list(tmp_path.iterdir()) == []


def test_a_result_that_cannot_be_read_is_a_finding(tmp_path, monkeypatch):
    def run_case(case, seed, folder):
        (folder / "cutout.png").write_bytes(b"no picture")
        return 0

    monkeypatch.setattr(fuzz, "run_case", run_case)
    (result,) = fuzz.run_all([fuzz.Case("images", 0)], 0, tmp_path)
    assert result.outcome == "unreadable result"


@pytest.mark.parametrize(
    "kind",
    [
        # Its files are written by PyTorch.
        pytest.param(kind, marks=MARKS.get(kind, ()))
        for kind in fuzz_cases.CASES
    ],
)
def test_a_case_is_what_its_number_says(tmp_path, kind):
    folder = tmp_path / "case"
    drawn = []
    for _ in range(2):
        folder.mkdir()
        arguments = fuzz.draw(fuzz.Case(kind, 3), 7, folder)
        drawn.append((arguments, {f.name: f.read_bytes() for f in folder.iterdir()}))
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()

    assert drawn[0] == drawn[1]


def test_checksums_of_a_changed_png_are_mended():
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    content[24] = 2  # two bits a sample, which RGB can't have

    assert fuzz_cases.with_checksums(buffer.getvalue()) == buffer.getvalue()
    assert fuzz_cases.with_checksums(bytes(content)) != bytes(content)
    assert fuzz_cases.with_checksums(b"GIF89a") == b"GIF89a"


def test_mutations_change_something_most_of_the_time():
    content = bytes(range(256)) * 8
    changed = [fuzz_cases.mutated(Random(i), content) != content for i in range(100)]

    assert sum(changed) > 90
    assert fuzz_cases.mutated(Random(0), b"") is not None
