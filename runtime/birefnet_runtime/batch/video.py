"""Video through ffmpeg's pipes: a file in, the subject with alpha out, its sound kept."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np
from birefnet_models.atomic_write import replacing
from numpy.typing import NDArray

from ..cutout.compose import Style, compose
from ..errors import ImageError, MissingExtraError, OutputError
from ..images.picture import Picture
from ..machine.pipeline import overlap
from ..segmenter import Prepared, Segmenter

SUFFIXES = (".mov", ".webm")
_CODECS = {
    # 12 bits of alpha, what editing programs take; sound as it was, or uncompressed.
    ".mov": "-c:v prores_ks -profile:v 4444 -alpha_bits 16 -vendor apl0",
    # What browsers play. Alpha needs auto-alt-ref off.
    ".webm": "-c:v libvpx-vp9 -auto-alt-ref 0 -crf 24 -b:v 0 -row-mt 1 -deadline good -cpu-used 4",
}
_PIXELS = {".mov": "yuva444p10le", ".webm": "yuva420p"}
_SOUND = {".mov": "-c:a pcm_s16le", ".webm": "-c:a libopus"}
_COLORS = "-color_primaries bt709 -color_trc bt709 -colorspace bt709 -color_range tv"
_HD_HEIGHT = 720
"""Untagged video is BT.709 from this height on and BT.601 below: what players assume."""


@dataclass(frozen=True, slots=True)
class Footage:
    """Facts of a video file.

    Attributes:
        size: (height, width) in pixels, turned as it is shown.
        rate: frames a second.
        frames: how many, about; None if the file doesn't say.
        sound: whether there is any.
        matrix: how its colors are encoded, as ffmpeg's scaler calls it.
    """

    size: tuple[int, int]
    rate: Fraction
    frames: int | None
    sound: bool
    matrix: str


def probe(source: Path) -> Footage:
    """Look into a video file.

    Raises:
        MissingExtraError: ffmpeg is not installed.
        ImageError: the file is no video that ffmpeg reads.
    """
    command = [_tool("ffprobe"), "-v", "error", "-print_format", "json", "-show_streams"]
    command += ["-show_format", _named(source)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise ImageError(f"{source}: ffmpeg can't read it: {_last_line(done.stderr)}")
    streams = json.loads(done.stdout).get("streams", [])
    pictures = [
        stream
        for stream in streams
        if stream.get("codec_type") == "video"
        and not stream.get("disposition", {}).get("attached_pic")
    ]
    if not pictures:
        raise ImageError(f"{source}: there is no video in it")
    return _footage(pictures[0], any(stream.get("codec_type") == "audio" for stream in streams))


def cut_out_video(
    source: Path,
    target: Path,
    segmenter: Segmenter,
    *,
    style: Style | None = None,
    batch: int = 1,
    progress: Callable[[int], None] = lambda frames: None,
    stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Cut the subject out of every frame.

    Frames pass through pipes: memory is bounded and nothing but the result is written. Each is
    cut out by itself; there is no smoothing in time. Colors are 8-bit. A variable frame rate
    becomes an even one, which keeps the sound in step.

    Args:
        source: any file that ffmpeg reads.
        target: ends in `.mov` for ProRes 4444 or `.webm` for VP9, both with alpha; appears whole
            or not at all.
        segmenter: the open model.
        style: how frames are composed; must stay transparent and uncropped.
        batch: how many frames may go through the graph at once.
        progress: called with the number of frames done, after each.
        stopped: asked before each frame; once true, the video is given up.

    Returns:
        How many frames were written.

    Raises:
        MissingExtraError: ffmpeg is not installed.
        ImageError: the file is no video that ffmpeg reads.
        OutputError: it can't be written, or was stopped.
    """
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise OutputError(f"{target}: video with alpha is written as .mov or .webm")
    footage = probe(source)
    if target.exists() and source.samefile(target):
        raise OutputError(f"{source}: {target} is an input; not overwritten")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            return _convert(
                source, temporary, footage, segmenter, style or Style(), batch, progress, stopped
            )
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f"{target}: can't be written: {reason}") from error


def _convert(
    source: Path,
    target: Path,
    footage: Footage,
    segmenter: Segmenter,
    style: Style,
    batch: int,
    progress: Callable[[int], None],
    stopped: Callable[[], bool],
) -> int:
    def finish(prepared: Prepared, logits: NDArray[np.float32]) -> memoryview:
        alpha = segmenter.finish(prepared, logits)
        return compose(prepared.picture, alpha, style, threads=1).pixels.data

    done = 0
    with (
        _Ffmpeg(_decoding(source, footage), reads=False) as decoder,
        _Ffmpeg(_encoding(source, target, footage), reads=True) as encoder,
        closing(
            overlap(
                _frames(decoder.stream, footage.size),
                segmenter.prepare,
                segmenter.run,
                finish,
                batch=batch,
                stopped=stopped,
            )
        ) as frames,
    ):
        try:
            for frame in frames:
                encoder.stream.write(frame)
                done += 1
                progress(done)
        except BrokenPipeError:
            encoder.finish(target, OutputError, "ffmpeg can't write it")
        if stopped():
            raise OutputError(f"{source}: stopped after {done} frames; nothing was written")
        decoder.finish(source, ImageError, "ffmpeg can't decode it")
        if not done:
            raise ImageError(f"{source}: there are no frames in it")
        encoder.finish(target, OutputError, "ffmpeg can't write it")
    return done


class _Ffmpeg:
    """An ffmpeg at the other end of a pipe; ended with the block, however that ends.

    In a session of its own: Ctrl-C is for us, who finish the frame in hand first.

    Args:
        command: with arguments.
        reads: whether it reads from the pipe; else it writes.
    """

    def __init__(self, command: list[str], *, reads: bool) -> None:
        # Not a pipe, which fills up when nobody reads it.
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if reads else subprocess.PIPE,
            stderr=self._messages,
            start_new_session=True,
        )
        stream = self._process.stdin if reads else self._process.stdout
        assert stream is not None
        self.stream: IO[bytes] = stream

    def finish(self, name: Path, kind: type[Exception], problem: str) -> None:
        """Close the pipe and wait.

        Raises:
            kind: ffmpeg failed; the message ends with its last line.
        """
        with suppress(BrokenPipeError):
            self.stream.close()
        if self._process.wait() != 0:
            self._messages.seek(0)
            text = self._messages.read().decode(errors="replace")
            raise kind(f"{name}: {problem}: {_last_line(text)}")

    def __enter__(self) -> "_Ffmpeg":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        with suppress(BrokenPipeError):
            self.stream.close()
        self._messages.close()


def _decoding(source: Path, footage: Footage) -> list[str]:
    """To raw RGB: turned upright, at an even rate, by the file's own color matrix."""
    scale = f"scale=in_color_matrix={footage.matrix}:flags=accurate_rnd+full_chroma_int"
    command = [_tool("ffmpeg"), "-v", "error", "-nostdin", "-i", _named(source)]
    command += ["-map", "0:V:0", "-r", str(footage.rate), "-vf", scale]
    return [*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]


def _encoding(source: Path, target: Path, footage: Footage) -> list[str]:
    """From raw RGBA, with the sound of the source beside it."""
    height, width = footage.size
    suffix = target.suffix.lower()
    command = [_tool("ffmpeg"), "-v", "error", "-nostats", "-y", "-f", "rawvideo"]
    command += ["-pix_fmt", "rgba", "-s", f"{width}x{height}", "-r", str(footage.rate), "-i", "-"]
    if footage.sound:
        command += ["-i", _named(source), "-map", "0:v", "-map", "1:a", *_SOUND[suffix].split()]
    scale = "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int"
    tags = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
    command += [
        "-vf",
        f"{scale},format={_PIXELS[suffix]},{tags}",
        *_CODECS[suffix].split(),
        *_COLORS.split(),
    ]
    return [*command, _named(target)]


def _frames(stream: IO[bytes], size: tuple[int, int]) -> Iterator[Picture]:
    """Frames of this (height, width), until the pipe ends."""
    height, width = size
    while len(content := stream.read(height * width * 3)) == height * width * 3:
        yield Picture(np.frombuffer(content, np.uint8).reshape(height, width, 3))


def _footage(stream: dict[str, Any], sound: bool) -> Footage:
    width, height = int(stream["width"]), int(stream["height"])
    turns = [float(side.get("rotation", 0)) for side in stream.get("side_data_list", [])]
    if any(round(turn / 90) % 2 for turn in turns):
        width, height = height, width
    rates = (_rate(stream.get(key, "0/0")) for key in ("avg_frame_rate", "r_frame_rate"))
    rate = next((rate for rate in rates if rate), Fraction(25))
    frames = stream.get("nb_frames")
    if frames is None and "duration" in stream:
        frames = round(float(stream["duration"]) * rate)
    tagged = {"bt709": "bt709", "smpte170m": "bt601", "bt470bg": "bt601", "bt2020nc": "bt2020"}
    untagged = "bt709" if min(height, width) >= _HD_HEIGHT else "bt601"
    matrix = tagged.get(stream.get("color_space", ""), untagged)
    return Footage((height, width), rate, None if frames is None else int(frames), sound, matrix)


def _rate(text: str) -> Fraction | None:
    with suppress(ValueError, ZeroDivisionError):
        rate = Fraction(text)
        return rate if rate > 0 else None
    return None


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise MissingExtraError(
            f"{name} is not installed; video needs ffmpeg (apt install ffmpeg, brew install ffmpeg)"
        )
    return path


def _named(path: Path) -> str:
    """A path that ffmpeg takes for one, whatever it is called."""
    return f"file:{path}"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "no reason given"
