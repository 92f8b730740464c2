"""Needs ffmpeg, which makes the films too; the message without it is tested everywhere."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from birefnet_runtime import ImageError, MissingExtraError, OutputError, Segmenter
from birefnet_runtime.batch.video import cut_out_video, probe

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg isn't installed")
SIZE = "64x48"


def ffmpeg(*arguments: object) -> bytes:
    command = ["ffmpeg", "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def streams(path) -> dict[str, dict]:
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-count_frames", path]
    found = subprocess.run(command, check=True, capture_output=True).stdout
    return {stream["codec_type"]: stream for stream in json.loads(found)["streams"]}


@pytest.fixture
def film(tmp_path):
    """Six frames: the left half white, the right half a dark blue; with a sound."""
    path = tmp_path / "film.mp4"
    ffmpeg(
        "-f", "lavfi", "-i", f"color=0x000060:s={SIZE}:r=12:d=0.5,drawbox=w=32:color=white:t=fill",
        "-f", "lavfi", "-i", "sine=d=0.5", "-c:v", "mpeg4", "-q:v", "1", "-c:a", "aac", path,
    )  # fmt: skip
    return path


@needs_ffmpeg
@pytest.mark.parametrize(
    ("suffix", "video", "audio", "decoder"),
    [("mov", "prores", "pcm_s16le", ()), ("webm", "vp9", "opus", ("-c:v", "libvpx-vp9"))],
)
def test_frames_alpha_colors_and_sound_arrive(model, film, tmp_path, suffix, video, audio, decoder):
    target = tmp_path / "new" / f"out.{suffix}"
    seen = []

    frames = cut_out_video(film, target, Segmenter(model), progress=seen.append)

    assert frames == 6
    assert seen == [1, 2, 3, 4, 5, 6]
    found = streams(target)
    assert found["video"]["codec_name"] == video
    assert found["video"]["nb_read_frames"] == "6"
    assert found["audio"]["codec_name"] == audio
    raw = ffmpeg(*decoder, "-i", target, "-f", "rawvideo", "-pix_fmt", "rgba", "-")
    shown = np.frombuffer(raw, np.uint8).reshape(6, 48, 64, 4).astype(int)
    assert shown[:, 4:-4, 4:26, 3].min() > 250, "white is the subject"
    assert shown[:, 4:-4, 40:60, 3].max() < 6
    np.testing.assert_allclose(shown[:, 4:-4, 4:26, :3], 255, atol=6)
    assert sorted(path.name for path in target.parent.iterdir()) == [target.name]


@needs_ffmpeg
def test_a_film_that_is_filmed_upright_is_upright(model, film, tmp_path):
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", "90", "-i", film, "-c", "copy", turned) if _rotates() else ffmpeg(
        "-i", film, "-c", "copy", "-metadata:s:v", "rotate=90", turned
    )

    assert probe(turned).size == (64, 48)
    cut_out_video(turned, tmp_path / "out.mov", Segmenter(model))
    found = streams(tmp_path / "out.mov")["video"]
    assert (found["height"], found["width"]) == (64, 48)


def _rotates() -> bool:
    """Whether this ffmpeg has -display_rotation (since 6.0)."""
    said = subprocess.run(["ffmpeg", "-h", "full"], capture_output=True, check=False).stdout
    return b"-display_rotation" in said


@needs_ffmpeg
def test_a_stopped_film_leaves_nothing(model, film, tmp_path):
    seen = []

    with pytest.raises(OutputError, match=r"film\.mp4: stopped after \d frames"):
        cut_out_video(
            film, tmp_path / "out.mov", Segmenter(model),
            progress=seen.append, stopped=lambda: len(seen) >= 2,
        )  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4"]


@needs_ffmpeg
def test_what_is_no_film_is_an_error_that_names_it(model, film, tmp_path):
    (tmp_path / "text.mp4").write_bytes(b"no film")
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.1", tmp_path / "sound.wav")

    for name, says in (("text.mp4", "can't read it"), ("sound.wav", "no video"), ("none.mp4", "")):
        with pytest.raises(ImageError, match=rf"{name}: .*{says}"):
            cut_out_video(tmp_path / name, tmp_path / "out.mov", Segmenter(model))
    with pytest.raises(OutputError, match=r"out\.mp4: video with alpha is written as"):
        cut_out_video(film, tmp_path / "out.mp4", Segmenter(model))


def test_without_ffmpeg_one_line_says_so(model, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingExtraError, match="ffprobe is not installed; video needs ffmpeg"):
        cut_out_video(tmp_path / "film.mp4", tmp_path / "out.mov", Segmenter(model))
