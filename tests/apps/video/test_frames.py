"""Bare frames need no ffmpeg, unless a file is made of them."""

import errno
import io
import os
from fractions import Fraction

import numpy as np
import pytest
from birefnet_apps.video.convert import cut_out_video
from birefnet_apps.video.frames import RawFormat, RawFrames, parse_raw, raw_writer, spooled
from birefnet_runtime import ImageError, OutputError, Segmenter, Style

FORMAT = RawFormat((48, 64), Fraction(12))


@pytest.fixture
def frames():
    """uint8 (5, 48, 64, 3) RGB: black, with a white half that is wider in each."""
    pixels = np.zeros((5, 48, 64, 3), np.uint8)
    for number, frame in enumerate(pixels):
        frame[:, : 20 + 4 * number] = 255
    return pixels


@pytest.mark.parametrize(
    ("text", "size", "rate"),
    [
        ("1280x720@25", (720, 1280), Fraction(25)),
        ("64x48@30000/1001", (48, 64), Fraction(30000, 1001)),
        ("64x48@12.5", (48, 64), Fraction(25, 2)),
    ],
)
def test_formats_are_read_width_first(text, size, rate):
    assert parse_raw(text) == RawFormat(size, rate)


@pytest.mark.parametrize(
    "text", ["", "64x48", "64@25", "64x48@", "64x48@0", "64x48@-1", "64x48@1/0", "0x48@5", "x@1",
             "99999999x9@5", "64x48@nan", "64x48@inf", "64X48@5", "64x48@25fps"],
)  # fmt: skip
def test_what_is_no_format_is_said(text):
    with pytest.raises(ImageError, match="give WxH@FPS, width first"):
        parse_raw(text)


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("batch", [1, 2])
def test_frames_in_and_frames_out(model, frames, batch, smooth):
    """Edges move here, so that smoothing changes nothing near them."""
    target = io.BytesIO()
    source = RawFrames(io.BytesIO(frames.tobytes()), FORMAT)

    count = cut_out_video(
        source, target, Segmenter(model), style=Style(depth=8), batch=batch, smooth=smooth
    )

    shown = np.frombuffer(target.getvalue(), np.uint8).reshape(5, 48, 64, 4)
    assert count == 5
    for number, frame in enumerate(shown):
        width = 20 + 4 * number
        assert frame[:, : width - 3].min() == 255
        assert frame[:, width + 3 :, 3].max() == 0


def test_masks_are_a_byte_a_pixel(model, frames):
    target = io.BytesIO()

    cut_out_video(
        RawFrames(io.BytesIO(frames.tobytes()), FORMAT), target, Segmenter(model),
        style=Style(mask=True, depth=8),
    )  # fmt: skip

    shown = np.frombuffer(target.getvalue(), np.uint8).reshape(5, 48, 64)
    assert shown[4, :, :33].min() == 255
    assert shown[4, :, 39:].max() == 0


def test_a_last_frame_that_is_not_whole_is_an_error_with_its_number(model, frames):
    target = io.BytesIO()
    source = RawFrames(io.BytesIO(frames.tobytes()[:-1]), FORMAT)

    with pytest.raises(ImageError, match=r"^standard input: .* frame 5, .* 9,215 .*"
                       r"9,216 bytes .*64x48"):  # fmt: skip
        cut_out_video(source, target, Segmenter(model))
    assert len(target.getvalue()) % (48 * 64 * 4) == 0, "whole frames only"


def test_no_frames_is_an_error(model):
    with pytest.raises(ImageError, match="no frames in it"):
        cut_out_video(RawFrames(io.BytesIO(), FORMAT), io.BytesIO(), Segmenter(model))


def test_a_stopped_stream_says_how_far_it_came(model, frames):
    seen = []

    with pytest.raises(OutputError, match=r"input: stopped after \d frames"):
        cut_out_video(
            RawFrames(io.BytesIO(frames.tobytes()), FORMAT), io.BytesIO(), Segmenter(model),
            progress=seen.append, stopped=lambda: len(seen) >= 2,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("code", "raised"), [(errno.EPIPE, BrokenPipeError), (errno.ENOSPC, OutputError)]
)
def test_a_stream_that_takes_no_more(model, frames, code, raised):
    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(code, "no more")

    with pytest.raises(raised):
        cut_out_video(RawFrames(io.BytesIO(frames.tobytes()), FORMAT), Full(), Segmenter(model))


def test_a_files_content_lies_in_a_file_for_the_block():
    with spooled(io.BytesIO(b"content")) as path:
        assert path.read_bytes() == b"content"
    assert not path.exists()
    with pytest.raises(ImageError, match="no video in it"):
        spooled(io.BytesIO()).__enter__()


def test_times_of_bare_frames_do_not_drift():
    """At 30000/1001 frame 2997 is shown at 100 s."""
    source = RawFrames(io.BytesIO(bytes(3 * 2998)), RawFormat((1, 1), Fraction(30000, 1001)))
    times = []

    assert len(list(source.pictures(times))) == 2998
    assert times[2997] == 100_000


def test_each_frame_is_there_before_the_next_is_made():
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as reader, open(writing, "wb", buffering=1 << 16) as file:
        write = raw_writer(file)
        write(0, memoryview(b"frame"))
        assert reader.read(5) == b"frame"


def test_smoothing_makes_masks_of_a_noisy_still_flicker_less(model):
    random = np.random.default_rng(0)
    still = np.full((12, 48, 64, 3), 110, np.int64) + random.normal(0, 12, (12, 48, 64, 3))
    content = np.rint(still).clip(0, 255).astype(np.uint8).tobytes()
    flicker = {}
    for smooth in (False, True):
        target = io.BytesIO()
        cut_out_video(
            RawFrames(io.BytesIO(content), FORMAT), target, Segmenter(model),
            style=Style(mask=True, depth=8), smooth=smooth,
        )  # fmt: skip
        masks = np.frombuffer(target.getvalue(), np.uint8).reshape(12, 48, 64).astype(int)
        flicker[smooth] = np.abs(np.diff(masks[6:], axis=0)).mean()

    assert 0 < flicker[True] < flicker[False] / 2
