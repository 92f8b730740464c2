"""Needs ffmpeg, which makes the films too; the message without it is tested everywhere."""

import io
import json
import os
import shutil
import subprocess
import threading
from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from birefnet_apps.video import convert as module
from birefnet_apps.video.convert import cut_out_video, write_tone_map
from birefnet_apps.video.ffmpeg import probe
from birefnet_apps.video.frames import RawFormat, RawFrames
from birefnet_runtime import ImageError, MissingExtraError, OutputError, Segmenter, Style
from birefnet_runtime.images.color import CodePoints, normalize
from PIL import Image

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
    (tmp_path / "pointer.mp4").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.1", tmp_path / "sound.wav")

    for name, says in (
        ("text.mp4", "can't read it"),
        ("pointer.mp4", "Git LFS pointer"),
        ("sound.wav", "no video"),
        ("none.mp4", ""),
    ):
        with pytest.raises(ImageError, match=rf"{name}: .*{says}"):
            cut_out_video(tmp_path / name, tmp_path / "out.mov", Segmenter(model))
    with pytest.raises(OutputError, match=r"out\.mp4: video with alpha"):
        cut_out_video(film, tmp_path / "out.mp4", Segmenter(model))


@needs_ffmpeg
@pytest.mark.parametrize(("suffix", "pixels"), [("mov", "yuv422p10le"), ("webm", "yuv420p")])
def test_a_mask_is_a_gray_video_with_its_sound(model, film, tmp_path, suffix, pixels):
    target = tmp_path / f"out.{suffix}"

    cut_out_video(film, target, Segmenter(model), style=Style(mask=True, depth=8), smooth=True)

    found = streams(target)
    assert found["video"]["pix_fmt"] == pixels
    assert "audio" in found
    raw = ffmpeg("-i", target, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    shown = np.frombuffer(raw, np.uint8).reshape(6, 48, 64, 3).astype(int)
    assert shown[:, 4:-4, 4:26].min() > 250
    assert shown[:, 4:-4, 40:60].max() < 6


@needs_ffmpeg
def test_bare_frames_become_a_file_of_their_rate(model, tmp_path):
    frames = np.zeros((6, 48, 64, 3), np.uint8)
    frames[:, :, :32] = 255
    source = RawFrames(io.BytesIO(frames.tobytes()), RawFormat((48, 64), Fraction(30000, 1001)))

    assert cut_out_video(source, tmp_path / "out.mov", Segmenter(model)) == 6

    stream = streams(tmp_path / "out.mov")["video"]
    assert (stream["avg_frame_rate"], stream["nb_read_frames"]) == ("30000/1001", "6")
    shown = shown_frames(tmp_path / "out.mov")
    assert shown[:, 4:-4, 4:26, 3].min() > 250
    assert shown[:, 4:-4, 40:60, 3].max() < 6


def shown_frames(path, *decoder) -> np.ndarray:
    """(frames, H, W, 4) RGBA."""
    stream = streams(path)["video"]
    raw = ffmpeg(*decoder, "-i", path, "-fps_mode", "passthrough", "-f", "rawvideo",
                 "-pix_fmt", "rgba", "-")  # fmt: skip
    return np.frombuffer(raw, np.uint8).reshape(-1, stream["height"], stream["width"], 4)


def times_of(path) -> list[float]:
    command = ["ffprobe", "-v", "error", "-select_streams", "V:0", "-of", "csv=p=0",
               "-show_entries", "packet=pts_time", path]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return sorted(float(line.strip(",")) for line in done.stdout.split())


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["mov", "webm"])
def test_the_shape_of_pixels_stays(model, film, tmp_path, suffix):
    wide = tmp_path / "wide.mp4"
    ffmpeg("-i", film, "-vf", "setsar=16/11", "-c:v", "mpeg4", wide)

    assert probe(wide).pixel_aspect == Fraction(16, 11)
    cut_out_video(wide, tmp_path / f"out.{suffix}", Segmenter(model))

    width, height = streams(tmp_path / f"out.{suffix}")["video"]["sample_aspect_ratio"].split(":")
    assert int(width) / int(height) == pytest.approx(16 / 11, rel=0.01)  # WebM stores a whole width


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["mov", "webm"])
def test_frames_are_shown_when_they_were(model, film, tmp_path, suffix):
    """20 frames at 25 a second, then 5 in 1.4 s."""
    uneven = tmp_path / "uneven.mp4"
    pause = "'if(lt(N,20),N/25,0.8+(N-20)*0.28)/TB'"
    ffmpeg("-f", "lavfi", "-i", f"testsrc=s={SIZE}:r=25:d=1", "-vf", f"settb=1/1000,setpts={pause}",
           "-fps_mode", "vfr", "-enc_time_base", "1:1000", "-c:v", "mpeg4", uneven)  # fmt: skip
    expected = [*(n / 25 for n in range(20)), *(0.8 + n * 0.28 for n in range(5))]
    assert times_of(uneven) == pytest.approx(expected, abs=1e-3), "the film itself"

    assert cut_out_video(uneven, tmp_path / f"out.{suffix}", Segmenter(model)) == 25

    found = np.array(times_of(tmp_path / f"out.{suffix}"))
    np.testing.assert_allclose(found - found[0], expected, atol=2e-3)


@needs_ffmpeg
def test_an_even_rate_stays_exact(model, tmp_path):
    source = tmp_path / "ntsc.mp4"
    ffmpeg("-f", "lavfi", "-i", f"testsrc=s={SIZE}:r=30000/1001:d=0.4", "-c:v", "mpeg4", source)

    cut_out_video(source, tmp_path / "out.mov", Segmenter(model))

    stream = streams(tmp_path / "out.mov")["video"]
    assert stream["avg_frame_rate"] == stream["r_frame_rate"] == "30000/1001"
    assert int(stream["nb_read_frames"]) == len(times_of(source))


@needs_ffmpeg
@pytest.mark.parametrize("kind", ["mov", "webm"])
def test_transparency_that_is_there_is_multiplied_in(model, tmp_path, kind):
    """All white, which is the subject; its right half is transparent."""
    source = tmp_path / f"source.{kind}"
    encoder = ["prores_ks", "-profile:v", "4444"] if kind == "mov" else ["libvpx-vp9", "-crf", "4"]
    pixels = "yuva444p10le" if kind == "mov" else "yuva420p"
    ffmpeg("-f", "lavfi", "-i", f"color=white:s={SIZE}:r=5:d=0.4,format=rgba,"
           "geq=r=255:g=255:b=255:a='if(lt(X,32),255,0)'", "-pix_fmt", pixels, "-c:v", *encoder,
           source)  # fmt: skip
    assert probe(source).alpha

    cut_out_video(source, tmp_path / "out.mov", Segmenter(model))

    alpha = shown_frames(tmp_path / "out.mov")[..., 3]
    assert len(alpha) == 2
    assert alpha[:, 2:-2, 2:28].min() > 250
    assert alpha[:, 2:-2, 36:-2].max() < 6


@needs_ffmpeg
@pytest.mark.parametrize(("transfer", "white"), [("arib-std-b67", 0.75), ("smpte2084", 0.58)])
def test_hdr_becomes_what_it_looks_like(model, tmp_path, transfer, white):
    """Reference white of BT.2408 is 75 % of HLG and 58 % of PQ; black stays black."""
    source = tmp_path / "hdr.mkv"
    level = round(64 + white * 876)
    ffmpeg("-f", "lavfi", "-i", f"nullsrc=s={SIZE}:r=5:d=0.4,format=yuv420p10le,"
           f"geq=lum='if(lt(X,32),{level},64)':cb=512:cr=512", "-c:v", "ffv1",
           "-color_primaries", "bt2020", "-color_trc", transfer, "-colorspace", "bt2020nc",
           "-color_range", "tv", source)  # fmt: skip
    assert probe(source).transfer == transfer

    cut_out_video(source, tmp_path / "out.mov", Segmenter(model), style=Style(foreground="none"))

    shown = shown_frames(tmp_path / "out.mov").astype(int)
    np.testing.assert_allclose(shown[:, 4:-4, 4:26, :3], 245, atol=6)
    assert shown[:, 4:-4, 4:26, 3].min() > 250
    assert shown[:, 4:-4, 40:-4, :3].max() < 4


@needs_ffmpeg
@pytest.mark.parametrize(("transfer", "number"), [("smpte2084", 16), ("arib-std-b67", 18)])
def test_hdr_of_videos_becomes_what_it_becomes_of_pictures(tmp_path, transfer, number):
    levels = np.arange(0, 44_000, 1_100)
    red, green = np.meshgrid(levels, levels)
    colors = np.stack([red, green, (red + green) // 2], axis=-1).astype(np.uint16)
    write_tone_map(tmp_path / "hdr.cube", transfer)

    shown = subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb48le", "-s", "40x40", "-i", "-",
         "-vf", f"lut3d=file='{tmp_path / 'hdr.cube'}'", "-f", "rawvideo", "-pix_fmt", "rgb48le",
         "-"],
        input=colors.astype("<u2").tobytes(), check=True, capture_output=True,
    ).stdout  # fmt: skip

    picture = colors.copy()
    normalize(picture, CodePoints(9, number))
    errors = np.frombuffer(shown, "<u2").reshape(40, 40, 3).astype(int) - picture
    assert np.abs(errors).mean() / 257 < 0.6
    grays = errors[np.arange(40), np.arange(40)]
    assert np.abs(grays[1:]).max() / 257 < 4


@pytest.fixture
def long_film(tmp_path):
    """40 frames of noise, every tenth a key frame; its index stands first."""
    path = tmp_path / "long.mp4"
    ffmpeg("-f", "lavfi", "-i", f"nullsrc=s={SIZE}:r=20:d=2,geq=random(1)*255:128:128",
           "-c:v", "libx264", "-g", "10", "-bf", "0", "-movflags", "faststart", path)  # fmt: skip
    return path


@needs_ffmpeg
def test_a_film_that_ends_early_says_where(model, long_film, tmp_path):
    content = long_film.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) // 2])

    with pytest.raises(
        ImageError, match=r"cut\.mp4: damaged after frame (\d+): .*nothing was"
    ) as said:
        cut_out_video(tmp_path / "cut.mp4", tmp_path / "out.mov", Segmenter(model))

    assert 15 <= int(str(said.value).partition("frame ")[2].partition(":")[0]) <= 22
    assert not list(tmp_path.glob("*out.mov*"))


@needs_ffmpeg
def test_a_film_that_is_damaged_says_where(model, long_film, tmp_path):
    content = bytearray(long_film.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    (tmp_path / "bad.mp4").write_bytes(content)

    with pytest.raises(ImageError, match=r"bad\.mp4: damaged after frame (\d+): ") as said:
        cut_out_video(tmp_path / "bad.mp4", tmp_path / "out.webm", Segmenter(model))

    assert 15 <= int(str(said.value).partition("frame ")[2].partition(":")[0]) <= 25


@needs_ffmpeg
def test_a_film_without_its_last_seconds_says_so(model, film, tmp_path, monkeypatch):
    """Cut between two frames, where ffmpeg finds nothing wrong."""
    whole = probe(film)
    monkeypatch.setattr(module, "probe", lambda *_: replace(whole, duration_s=3.0))

    with pytest.raises(ImageError, match=r"film\.mp4: damaged after frame 6"):
        cut_out_video(film, tmp_path / "out.mov", Segmenter(model))


@needs_ffmpeg
@pytest.mark.parametrize(("height", "matrix"), [(718, "bt601"), (720, "bt709"), (722, "bt709")])
def test_untagged_video_is_bt709_from_720_lines_on(tmp_path, height, matrix):
    source = tmp_path / "untagged.mkv"
    ffmpeg("-f", "lavfi", "-i", f"color=red:s=1280x{height}:r=1:d=1,format=yuv420p", "-c:v", "ffv1",
           source)  # fmt: skip

    assert probe(source).matrix == matrix


@needs_ffmpeg
def test_a_cover_picture_is_no_film(film, tmp_path):
    cover, source = tmp_path / "cover.png", tmp_path / "covered.mp4"
    Image.new("RGB", (32, 32)).save(cover)
    ffmpeg("-i", cover, "-i", film, "-map", "0", "-map", "1:v", "-c", "copy",
           "-disposition:v:0", "attached_pic", source)  # fmt: skip

    assert probe(source).size == (48, 64)


@needs_ffmpeg
def test_the_stream_that_was_looked_at_is_the_one_that_is_cut_out(
    model, film, tmp_path, monkeypatch
):
    """Its first stream is black, as a cover would be; the second has a white half."""
    source = tmp_path / "two.mkv"
    ffmpeg("-f", "lavfi", "-i", f"color=black:s={SIZE}:r=12:d=0.5", "-i", film,
           "-map", "0:v", "-map", "1:v", "-c:v", "mpeg4", source)  # fmt: skip
    looked_at = probe(source)
    assert looked_at.stream == 0
    monkeypatch.setattr(module, "probe", lambda *_: replace(looked_at, stream=1))

    assert cut_out_video(source, tmp_path / "out.mov", Segmenter(model)) == 6
    assert shown_frames(tmp_path / "out.mov")[:, 4:-4, 4:26, 3].min() > 250


def sounds_of(path) -> list[dict]:
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-select_streams", "a"]
    found = subprocess.run([*command, path], check=True, capture_output=True).stdout
    return json.loads(found)["streams"]


def tags_of(path) -> dict[str, str]:
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_format", path]
    found = subprocess.run(command, check=True, capture_output=True).stdout
    return {name.lower(): text for name, text in json.loads(found)["format"]["tags"].items()}


@needs_ffmpeg
@pytest.mark.parametrize("layout", ["mono", "5.1(side)", "2.1", "7.1(wide)"])
@pytest.mark.parametrize("suffix", ["webm", "mov"])
def test_sound_of_any_layout_is_kept(model, film, tmp_path, layout, suffix):
    source = tmp_path / "source.mkv"
    ffmpeg("-i", film, "-af", f"aformat=channel_layouts={layout}", "-c:v", "copy", "-c:a",
           "pcm_s16le", source)  # fmt: skip
    lines = []

    cut_out_video(source, tmp_path / f"out.{suffix}", Segmenter(model), note=lines.append)

    assert len(sounds_of(tmp_path / f"out.{suffix}")) == 1
    assert not lines


def with_unknown_codec(path, codec: bytes) -> None:
    """The last track of that codec in a .mov gets one that nobody knows."""
    content = path.read_bytes()
    place = content.rindex(b"stsd")
    path.write_bytes(content[:place] + content[place:].replace(codec, b"apac"))


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["webm", "mov"])
def test_all_sound_tracks_are_kept_that_can_be_and_a_line_names_the_others(
    model, film, tmp_path, suffix
):
    source = tmp_path / "source.mov"
    ffmpeg("-i", film, "-map", "0:v", *["-map", "0:a"] * 3, "-c:v", "copy", "-c:a", "aac",
           "-c:a:2", "pcm_s16le", source)  # fmt: skip
    with_unknown_codec(source, b"sowt")
    events = []

    cut_out_video(
        source, tmp_path / f"out.{suffix}", Segmenter(model),
        note=events.append, progress=events.append,
    )  # fmt: skip

    assert len(sounds_of(tmp_path / f"out.{suffix}")) == 2
    line, first, *_ = events
    assert first == 1, "the line comes before the first frame"
    assert str(source) in line
    assert "sound track 3 (of a codec that ffmpeg doesn't know" in line
    assert "left out" in line


@needs_ffmpeg
def test_what_ffmpeg_says_of_a_file_names_the_target(model, film, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_COLORS", "-no_such_option 1")

    with pytest.raises(OutputError, match=r"out\.mov: ffmpeg can't write it") as said:
        cut_out_video(film, tmp_path / "out.mov", Segmenter(model))

    assert ".birefnet-" not in str(said.value)


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["webm", "mov"])
def test_title_time_and_timecode_go_along_and_the_place_does_not(model, film, tmp_path, suffix):
    source = tmp_path / "source.mov"
    ffmpeg("-i", film, "-c", "copy", "-metadata", "title=A title", "-metadata",
           "creation_time=2024-01-02T03:04:05Z", "-metadata", "location=+47.37+008.54/",
           "-timecode", "01:02:03:04", source)  # fmt: skip
    assert "location" in " ".join(tags_of(source))
    assert probe(source).timecode == "01:02:03:04"

    cut_out_video(source, tmp_path / f"out.{suffix}", Segmenter(model))

    tags = tags_of(tmp_path / f"out.{suffix}")
    assert tags["title"] == "A title"
    assert tags["creation_time"].startswith("2024-01-02T03:04:05")
    assert "location" not in " ".join(tags)
    assert "47.37" not in " ".join(tags.values())
    assert probe(tmp_path / f"out.{suffix}").timecode == "01:02:03:04"


@needs_ffmpeg
@pytest.mark.parametrize(("order", "first"), [("tff", "top"), ("bff", "bottom")])
def test_interlaced_video_is_made_whole_frames(model, tmp_path, order, first):
    """A bar that moves: in an interlaced frame its edge is a comb, line by line."""
    source = tmp_path / "source.mpg"
    bar = "geq=lum='if(between(X,8+2*N,24+2*N),235,16)':cb=128:cr=128"
    ffmpeg("-f", "lavfi", "-i", f"color=black:s={SIZE}:r=50:d=0.4,{bar}", "-vf",
           f"tinterlace=interleave_{first},setfield={order}", "-flags", "+ilme+ildct",
           "-c:v", "mpeg2video", "-q:v", "1", source)  # fmt: skip
    assert probe(source).field_order == order
    lines = []

    frames = cut_out_video(
        source, tmp_path / "out.mov", Segmenter(model), note=lines.append,
        style=Style(foreground="none"),
    )  # fmt: skip

    assert frames == probe(source).frames or frames == 10
    assert any("interlaced" in line for line in lines)
    comb = [
        combing(shown_frames(path)[2:-2, 8:-8, :, 0]) for path in (source, tmp_path / "out.mov")
    ]
    assert comb[1] < comb[0] / 4


def combing(frames) -> float:
    """How much lines differ from the mean of those above and below."""
    frames = frames.astype(int)
    return float(np.abs(2 * frames[:, 1:-1] - frames[:, :-2] - frames[:, 2:]).mean())


@needs_ffmpeg
def test_a_pipe_by_its_name_is_read(model, film, tmp_path):
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(film.read_bytes()))
    writer.start()
    try:
        assert cut_out_video(pipe, tmp_path / "out.mov", Segmenter(model)) == 6
    finally:
        writer.join()
    reading, writing = os.pipe()
    content = film.read_bytes()
    os.set_blocking(writing, True)
    feeder = threading.Thread(target=lambda: (os.write(writing, content), os.close(writing)))
    feeder.start()
    assert cut_out_video(Path(f"/dev/fd/{reading}"), tmp_path / "b.mov", Segmenter(model)) == 6
    feeder.join()
    os.close(reading)
    with pytest.raises(ImageError, match="a folder, not"):
        cut_out_video(tmp_path, tmp_path / "out.mov", Segmenter(model))


@needs_ffmpeg
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_an_input_by_another_name_is_not_overwritten(model, film, tmp_path, link):
    source = tmp_path / "a.mov"
    film.rename(source)
    before = source.read_bytes()
    link(source, tmp_path / "link.mov")

    with pytest.raises(OutputError, match="an input; not"):
        cut_out_video(source, tmp_path / "link.mov", Segmenter(model))
    assert source.read_bytes() == before


@needs_ffmpeg
@pytest.mark.parametrize(("said_s", "whole"), [(1.4, True), (1.6, False), (4.0, False)])
def test_a_second_is_the_most_that_may_be_missing(
    model, film, tmp_path, monkeypatch, said_s, whole
):
    """The film has half a second."""
    facts = probe(film)
    monkeypatch.setattr(module, "probe", lambda *_: replace(facts, duration_s=said_s))
    if whole:
        cut_out_video(film, tmp_path / "out.mov", Segmenter(model))
        return
    with pytest.raises(ImageError, match="it ends"):
        cut_out_video(film, tmp_path / "out.mov", Segmenter(model))


def test_without_ffmpeg_one_line_says_so(model, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingExtraError, match="ffprobe is not installed"):
        cut_out_video(tmp_path / "film.mp4", tmp_path / "out.mov", Segmenter(model))


@needs_ffmpeg
@pytest.mark.parametrize(("duration_s", "early"), [(2.9, False), (3.2, True)])
def test_a_second_may_be_missing_and_no_more(
    model, long_film, tmp_path, monkeypatch, duration_s, early
):
    whole = probe(long_film)
    monkeypatch.setattr(module, "probe", lambda *_: replace(whole, duration_s=duration_s))

    with pytest.raises(ImageError, match=r"1\.2 s early") if early else nullcontext():
        cut_out_video(long_film, tmp_path / "out.mov", Segmenter(model))
