"""Facts of a video file, by ffprobe."""

import json
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from birefnet_runtime.errors import ImageError

from .ffmpeg import last_line, named, tool

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
