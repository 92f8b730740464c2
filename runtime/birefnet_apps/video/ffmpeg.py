"""ffmpeg at the other end of a pipe."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

from birefnet_models.base.files import head_of, stand_in
from birefnet_runtime.errors import ImageError, MissingExtraError

_DAMAGE = re.compile(
    r"invalid data|error while decoding|error submitting packet|error splitting|corrupt"
    r"|partial file|ended prematurely|truncat",
    re.IGNORECASE,
)
"""What ffmpeg writes of damage that it reads past, ending with exit code 0."""


class Ffmpeg:
    """A running ffmpeg; ended with the block, however that ends.

    In a session of its own: Ctrl-C is for us, who finish the frame in hand first.

    Args:
        arguments: what follows the program's name.
        reads: whether it reads from the pipe; else it writes.
    """

    def __init__(self, arguments: list[str], *, reads: bool) -> None:
        # Not a pipe, which fills up when nobody reads it.
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [tool("ffmpeg"), "-v", "error", *arguments],
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if reads else subprocess.PIPE,
            stderr=self._messages,
            start_new_session=True,
        )
        stream = self._process.stdin if reads else self._process.stdout
        assert stream is not None
        self.stream: IO[bytes] = stream

    def damage(self) -> str | None:
        """The first line that it has written of damage so far."""
        return next(filter(_DAMAGE.search, self._lines()), None)

    def finish(
        self, name: object, kind: type[Exception], problem: str, *, hidden: str = ""
    ) -> None:
        """Close the pipe and wait.

        Args:
            name: what the message is about.
            kind: of error.
            problem: what is wrong if ffmpeg failed.
            hidden: a path that the message calls `name`, too.

        Raises:
            kind: ffmpeg failed; the message ends with its last line.
        """
        with suppress(BrokenPipeError):
            self.stream.close()
        if self._process.wait() != 0:
            reason = last_line(chr(10).join(self._lines()))
            reason = reason.replace(hidden, str(name)) if hidden else reason
            raise kind(f"{name}: {problem}: {reason}")

    def _lines(self) -> list[str]:
        self._messages.seek(0)
        text = self._messages.read().decode(errors="replace")
        return re.sub(r" @ 0x[0-9a-f]+", "", text).splitlines()

    def __enter__(self) -> "Ffmpeg":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        with suppress(BrokenPipeError):
            self.stream.close()
        self._messages.close()


def tool(name: str) -> str:
    """The path of ffmpeg or ffprobe.

    Raises:
        MissingExtraError: it is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise MissingExtraError(
            f"{name} is not installed; video needs ffmpeg (apt install ffmpeg, brew install ffmpeg)"
        )
    return path


def has_filter(name: str) -> bool:
    """Whether this ffmpeg was built with a filter."""
    command = [tool("ffmpeg"), "-v", "error", "-filters"]
    listed = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    ).stdout
    return any(line.split()[1:2] == [name] for line in listed.splitlines())


def named(path: Path) -> str:
    """A path that ffmpeg takes for one, whatever it is called."""
    return f"file:{path}"


def last_line(text: str) -> str:
    """The last line that ffmpeg wrote."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "no reason given"


# Facts of a video file, by ffprobe.


_HD_HEIGHT = 720
"""Untagged video is BT.709 from this height on and BT.601 below: what players assume."""
_MATRICES = {"bt709": "bt709", "smpte170m": "bt601", "bt470bg": "bt601", "bt2020nc": "bt2020"}
_HDR_TRANSFERS = frozenset({"smpte2084", "arib-std-b67"})
"""PQ and HLG, the transfer functions of ITU-R BT.2100."""
_WITH_ALPHA = re.compile(r"yuva|gbrap|ya\d|pal8|.*(rgba|bgra|argb|abgr)")
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""ffmpeg's own decoders of these leave alpha, which WebM has beside the picture, out."""
_EVEN = 0.001
"""By how much the average rate may differ from the nominal one of an even video."""
_TRIED_S, _MOST_SOUNDS = 0.5, 16
"""How much of a sound track is tried, and how many tracks of a file."""
_FIELD_ORDERS = {"tt": "tff", "bb": "bff", "tb": "auto", "bt": "auto"}
"""By ffprobe's. Of the last two ffmpeg's own files mean the opposite of QuickTime's, but each frame
says which field is first."""
_KEPT_TAGS = (
    *("title", "artist", "author", "album_artist", "album", "composer", "genre", "date"),
    *("creation_time", "copyright", "comment", "description", "synopsis", "publisher"),
    *("com.apple.quicktime.title", "com.apple.quicktime.author", "com.apple.quicktime.copyright"),
)
"""Of what a file says of itself; the place where it was filmed is not among it."""
_DOLBY_VISION_ALONE = 5
"""The profile whose colors only a Dolby Vision decoder knows."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound track of a video file.

    Attributes:
        stream: its number in the file.
        codec: ffmpeg's name of its codec; None if ffmpeg doesn't know it.
        layout: of its channels, as `5.1(side)`; None if the file doesn't say.
    """

    stream: int
    codec: str | None
    layout: str | None

    def __str__(self) -> str:
        kind = self.codec or "of a codec that ffmpeg doesn't know"
        return f"sound track {self.stream} ({kind}{f', {self.layout}' if self.layout else ''})"


@dataclass(frozen=True, slots=True)
class Footage:
    """What a video file says of itself.

    Attributes:
        stream: its number in the file; a cover picture is none.
        size: (height, width) in pixels, turned as it is shown.
        pixel_aspect: width of a pixel by its height.
        rate: frames a second.
        even: whether all frames are shown equally long.
        frames: how many, about; None if the file doesn't say.
        duration_s: of the picture; None if the file doesn't say.
        sounds: its sound tracks.
        matrix: how its colors are encoded, as ffmpeg's scaler calls it.
        transfer: `smpte2084` or `arib-std-b67` of HDR; None else.
        wide: whether its colors are BT.2020's.
        alpha: whether it has transparency.
        decoder: a decoder that must be asked for.
        field_order: of interlaced video: `tff`, `bff`, or `auto` as each frame says; None else.
        tags: what the file says of itself, by ffmpeg's names, as `title`; no place.
        timecode: of the first frame, as `01:00:00:00`; None if there is none.
    """

    stream: int
    size: tuple[int, int]
    pixel_aspect: Fraction
    rate: Fraction
    even: bool
    frames: int | None
    duration_s: float | None
    sounds: tuple[Sound, ...]
    matrix: str
    transfer: str | None
    wide: bool
    alpha: bool
    decoder: str | None
    field_order: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    timecode: str | None = None


def probe(source: Path, name: str | None = None) -> Footage:
    """Look into a video file.

    Args:
        source: the file.
        name: what messages call it; by default its path.

    Raises:
        MissingExtraError: ffmpeg is not installed.
        ImageError: the file is not a video that ffmpeg reads, or its colors need another decoder.
    """
    command = [tool("ffprobe"), "-v", "error", "-print_format", "json", "-show_streams"]
    command += ["-show_format", named(source)]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    name = name or str(source)
    if done.returncode != 0:
        if source.is_file() and (what := stand_in(head_of(source))):
            raise ImageError(f"{name}: it {what}")
        reason = last_line(done.stderr).replace(named(source), name)
        raise ImageError(f"{name}: ffmpeg can't read it: {reason}")
    found = json.loads(done.stdout)
    streams = found.get("streams", [])
    pictures = [
        stream
        for stream in streams
        if stream.get("codec_type") == "video"
        and not stream.get("disposition", {}).get("attached_pic")
    ]
    if not pictures:
        raise ImageError(f"{name}: there is no video in it")
    if any(
        side.get("dv_profile") == _DOLBY_VISION_ALONE
        for side in pictures[0].get("side_data_list", [])
    ):
        raise ImageError(f"{name}: Dolby Vision of profile 5 can't be decoded; convert it first")
    return _footage(pictures[0], streams, found.get("format", {}).get("tags", {}))


def _footage(
    stream: dict[str, Any], streams: list[dict[str, Any]], tags: dict[str, str]
) -> Footage:
    tags = {name.lower(): text for name, text in tags.items()}
    timecodes = [tags, *(_tags(each) for each in (stream, *streams))]
    width, height = int(stream["width"]), int(stream["height"])
    aspect = _ratio(stream.get("sample_aspect_ratio", "1:1").replace(":", "/")) or Fraction(1)
    turns = [float(side.get("rotation", 0)) for side in stream.get("side_data_list", [])]
    if any(round(turn / 90) % 2 for turn in turns):
        width, height, aspect = height, width, 1 / aspect
    average, nominal = (_ratio(stream.get(f"{key}_frame_rate", "")) for key in ("avg", "r"))
    rate = average or nominal or Fraction(25)
    duration = stream.get("duration")
    frames = stream.get("nb_frames") or (duration and round(float(duration) * rate))
    untagged = "bt709" if min(height, width) >= _HD_HEIGHT else "bt601"
    transfer = stream.get("color_transfer")
    webm_alpha = _tags(stream).get("alpha_mode") == "1"
    return Footage(
        stream=int(stream["index"]),
        size=(height, width),
        pixel_aspect=aspect,
        rate=rate,
        even=nominal is None or abs(rate / nominal - 1) < _EVEN,
        frames=int(frames) if frames else None,
        duration_s=float(duration) if duration else None,
        sounds=tuple(
            Sound(int(each["index"]), each.get("codec_name"), each.get("channel_layout"))
            for each in streams
            if each.get("codec_type") == "audio"
        ),
        matrix=_MATRICES.get(stream.get("color_space", ""), untagged),
        transfer=transfer if transfer in _HDR_TRANSFERS else None,
        wide=stream.get("color_primaries") == "bt2020",
        alpha=webm_alpha or bool(_WITH_ALPHA.match(stream.get("pix_fmt", ""))),
        decoder=_ALPHA_DECODERS.get(stream.get("codec_name", "")) if webm_alpha else None,
        field_order=_FIELD_ORDERS.get(stream.get("field_order", "")),
        tags={name: tags[name] for name in _KEPT_TAGS if tags.get(name)},
        timecode=next((each["timecode"] for each in timecodes if each.get("timecode")), None),
    )


def _tags(stream: dict[str, Any]) -> dict[str, str]:
    return {name.lower(): text for name, text in stream.get("tags", {}).items()}


def sounds_that_fit(
    source: Path, footage: Footage, options: list[str], container: str
) -> tuple[list[Sound], list[Sound]]:
    """Try which sound tracks of a file can be decoded, and encoded for another.

    Args:
        source: the file.
        footage: its facts.
        options: ffmpeg's for encoding sound.
        container: ffmpeg's name of the format of the other file.

    Returns:
        those that can, and those that can't.
    """
    fit: list[Sound] = []
    unfit: list[Sound] = []
    for number, sound in enumerate(footage.sounds):
        command = [tool("ffmpeg"), "-v", "error", "-nostdin", "-y", "-i", named(source)]
        command += ["-map", f"0:{sound.stream}", "-t", str(_TRIED_S), *options, "-f", container]
        known = sound.codec is not None and number < _MOST_SOUNDS
        tried = known and subprocess.run(
            [*command, os.devnull],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=False,
        )
        (fit if tried and tried.returncode == 0 else unfit).append(sound)
    return fit, unfit


def deinterlacing(footage: Footage) -> str | None:
    """The filter that makes whole frames of an interlaced video; None if this ffmpeg has none."""
    for name in ("bwdif", "yadif"):
        if has_filter(name):
            return f"{name}=mode=send_frame:parity={footage.field_order}:deint=all"
    return None


def _ratio(text: str) -> Fraction | None:
    with suppress(ValueError, ZeroDivisionError):
        ratio = Fraction(text)
        return ratio if ratio > 0 else None
    return None
