"""Video through ffmpeg's pipes: a file in, the subject with alpha out, its sound kept."""

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
from birefnet_models.atomic_write import replacing
from numpy.typing import NDArray

from ..cutout.compose import Style, compose
from ..errors import ImageError, OutputError
from ..images.picture import Picture
from ..machine.pipeline import overlap
from ..model.forms import Prepared
from ..segmenter import Segmenter
from .ffmpeg import Ffmpeg, has_filter, named
from .footage import Footage, probe
from .matroska import frame_header, header, read_frames

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
_TONE_MAP = (
    "zscale=tin={transfer}:pin=bt2020:min=bt2020nc:t=linear:npl=203,format=gbrpf32le,"
    "zscale=p=bt709,tonemap=mobius:param=0.8:peak=5:desat=0,zscale=t=bt709:m=bt709:r=pc"
)
"""HDR to BT.709: reference white, 203 cd/m² (ITU-R BT.2408), becomes nearly white; what is
brighter, up to 1000, is pressed together above it."""
_NARROW = "zscale=pin=bt2020:p=bt709:t=bt709:m=bt709"
_LOOKED_THROUGH = 250
"""Frames behind the first word of damage that are searched for the place."""
_EARLY_S, _EARLY_SHARE = 1.0, 0.05
"""How much a video may be shorter than it says, in seconds and as a share."""


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
    cut out by itself; there is no smoothing in time. Frames keep their times and the shape of
    their pixels; transparency that the video has is multiplied in. Colors are 8-bit BT.709, to
    which HDR is tone-mapped.

    Args:
        source: any file that ffmpeg reads.
        target: ends in `.mov` for ProRes 4444 or `.webm` for VP9, both with alpha; appears whole
            or not at all.
        segmenter: the open model.
        style: how frames are composed; must stay transparent, uncropped and without a layout.
        batch: how many frames may go through the graph at once.
        progress: called with the number of frames done, after each.
        stopped: asked before each frame; once true, the video is given up.

    Returns:
        How many frames were written.

    Raises:
        MissingExtraError: ffmpeg is not installed.
        ImageError: the file is no video that ffmpeg reads, is damaged, or ends early; says at
            which frame.
        OutputError: it can't be written, or was stopped.
    """
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise OutputError(f"{target}: video with alpha is written as .mov or .webm")
    footage = probe(source)
    try:
        if target.exists() and source.samefile(target):
            raise OutputError(f"{source}: {target} is an input; not overwritten")
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

    times: list[int] = []
    done = 0
    with (
        Ffmpeg(_decoding(source, footage), reads=False) as decoder,
        Ffmpeg(_encoding(source, target, footage), reads=True) as encoder,
        closing(
            overlap(
                _pictures(source, decoder, footage, times),
                segmenter.prepare,
                segmenter.run,
                finish,
                batch=batch,
                stopped=stopped,
            )
        ) as frames,
    ):
        try:
            encoder.stream.write(header(footage.size))
            for frame in frames:
                encoder.stream.write(frame_header(times[done], frame.nbytes))
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


def _pictures(
    source: Path, decoder: Ffmpeg, footage: Footage, times: list[int]
) -> Iterator[Picture]:
    """Frames as they are decoded; their times, in milliseconds, are added to `times`.

    Raises:
        ImageError: the video is damaged, or ends early.
    """
    frames = read_frames(decoder.stream, footage.size)
    for time_ms, pixels in frames:
        if damage := decoder.damage():
            seen = [*times, time_ms, *(time for time, _ in islice(frames, _LOOKED_THROUGH))]
            raise _damaged(source, _first_gap(seen, footage), damage)
        times.append(time_ms)
        opacity = np.ascontiguousarray(pixels[..., 3]) if footage.alpha else None
        yield Picture(np.ascontiguousarray(pixels[..., :3]), opacity)
    if damage := decoder.damage():
        raise _damaged(source, _first_gap(times, footage), damage)
    if times and footage.duration_s:
        missing_s = footage.duration_s - times[-1] / 1000 - float(1 / footage.rate)
        if missing_s > max(_EARLY_S, _EARLY_SHARE * footage.duration_s):
            raise _damaged(source, len(times), f"it ends {missing_s:.3g} s early")


def _damaged(source: Path, frame: int, reason: str) -> ImageError:
    return ImageError(f"{source}: damaged after frame {frame}: {reason}; nothing was written")


def _first_gap(times: list[int], footage: Footage) -> int:
    """The number of the last frame before one is missing."""
    step = 1500 / float(footage.rate)
    gaps = (number for number, (a, b) in enumerate(pairwise(times), 1) if b - a > step)
    return next(gaps, len(times))


def _decoding(source: Path, footage: Footage) -> list[str]:
    """Arguments that make RGBA with times: turned upright, in the colors of BT.709."""
    filters = [f"scale=in_color_matrix={footage.matrix}:flags=accurate_rnd+full_chroma_int"]
    if (footage.transfer or footage.wide) and not has_filter("zscale"):
        raise ImageError(
            f"{source}: its colors are BT.2020's, for which this ffmpeg lacks zscale; convert it "
            "to BT.709 first"
        )
    if footage.transfer and footage.alpha:
        raise ImageError(f"{source}: HDR with alpha is not supported; convert it to BT.709 first")
    if footage.transfer:
        filters = [_TONE_MAP.format(transfer=footage.transfer)]
    elif footage.wide:
        filters = [_NARROW]
    command = ["-nostdin", *(["-c:v", footage.decoder] if footage.decoder else [])]
    command += ["-i", named(source), "-map", f"0:{footage.stream}", "-vf", ",".join(filters)]
    command += ["-enc_time_base", "1:1000", "-c:v", "rawvideo", "-pix_fmt", "rgba"]
    return [*command, "-f", "matroska", "-"]


def _encoding(source: Path, target: Path, footage: Footage) -> list[str]:
    """Arguments that take RGBA with times, and the sound of the source beside it."""
    suffix = target.suffix.lower()
    command = ["-nostats", "-y", "-f", "matroska", "-i", "-"]
    if footage.sound:
        command += ["-i", named(source), "-map", "0:v", "-map", "1:a", *_SOUND[suffix].split()]
    filters = [
        "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int",
        f"format={_PIXELS[suffix]}",
        "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv",
        f"setsar={footage.pixel_aspect}",
    ]
    if footage.even:  # milliseconds back to the exact rate
        command += ["-r", str(footage.rate)]
    else:
        command += ["-fps_mode", "vfr", "-enc_time_base", "1:1000"]
    command += ["-vf", ",".join(filters), *_CODECS[suffix].split(), *_COLORS.split()]
    return [*command, named(target)]
