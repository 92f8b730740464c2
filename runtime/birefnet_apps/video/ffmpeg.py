"""ffmpeg at the other end of a pipe."""

import json
import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

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

    def finish(self, name: object, kind: type[Exception], problem: str) -> None:
        """Close the pipe and wait.

        Raises:
            kind: ffmpeg failed; the message ends with its last line.
        """
        with suppress(BrokenPipeError):
            self.stream.close()
        if self._process.wait() != 0:
            raise kind(f"{name}: {problem}: {last_line(chr(10).join(self._lines()))}")

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
_DOLBY_VISION_ALONE = 5
"""The profile whose colors only a Dolby Vision decoder knows."""


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
        sound: whether there is any.
        matrix: how its colors are encoded, as ffmpeg's scaler calls it.
        transfer: `smpte2084` or `arib-std-b67` of HDR; None else.
        wide: whether its colors are BT.2020's.
        alpha: whether it has transparency.
        decoder: a decoder that must be asked for.
    """

    stream: int
    size: tuple[int, int]
    pixel_aspect: Fraction
    rate: Fraction
    even: bool
    frames: int | None
    duration_s: float | None
    sound: bool
    matrix: str
    transfer: str | None
    wide: bool
    alpha: bool
    decoder: str | None


def probe(source: Path, name: str | None = None) -> Footage:
    """Look into a video file.

    Args:
        source: the file.
        name: what messages call it; by default its path.

    Raises:
        MissingExtraError: ffmpeg is not installed.
        ImageError: the file is no video that ffmpeg reads, or its colors need another decoder.
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
        reason = last_line(done.stderr).replace(named(source), name)
        raise ImageError(f"{name}: ffmpeg can't read it: {reason}")
    streams = json.loads(done.stdout).get("streams", [])
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
    return _footage(pictures[0], any(stream.get("codec_type") == "audio" for stream in streams))


def _footage(stream: dict[str, Any], sound: bool) -> Footage:
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
    webm_alpha = stream.get("tags", {}).get("alpha_mode") == "1"
    return Footage(
        stream=int(stream["index"]),
        size=(height, width),
        pixel_aspect=aspect,
        rate=rate,
        even=nominal is None or abs(rate / nominal - 1) < _EVEN,
        frames=int(frames) if frames else None,
        duration_s=float(duration) if duration else None,
        sound=sound,
        matrix=_MATRICES.get(stream.get("color_space", ""), untagged),
        transfer=transfer if transfer in _HDR_TRANSFERS else None,
        wide=stream.get("color_primaries") == "bt2020",
        alpha=webm_alpha or bool(_WITH_ALPHA.match(stream.get("pix_fmt", ""))),
        decoder=_ALPHA_DECODERS.get(stream.get("codec_name", "")) if webm_alpha else None,
    )


def _ratio(text: str) -> Fraction | None:
    with suppress(ValueError, ZeroDivisionError):
        ratio = Fraction(text)
        return ratio if ratio > 0 else None
    return None
