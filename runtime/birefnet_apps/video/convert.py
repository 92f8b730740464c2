"""Video through ffmpeg's pipes: a file in, the subject with alpha out, its sound kept."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TypeAlias, TypeVar

import numpy as np
from birefnet_models.base.files import replacing
from birefnet_runtime.cutout.compose import Style, compose
from birefnet_runtime.cutout.refine import Prediction
from birefnet_runtime.errors import ImageError, OutputError
from birefnet_runtime.images.color import HLG, PQ, CodePoints, normalize
from birefnet_runtime.images.picture import Picture
from birefnet_runtime.machine import usable_cores
from birefnet_runtime.model.graph_io import Prepared
from birefnet_runtime.pipeline import ahead, overlap
from birefnet_runtime.segmenter import Segmenter
from numpy.typing import NDArray

from .ffmpeg import (
    Ffmpeg,
    Footage,
    Sound,
    deinterlacing,
    has_filter,
    named,
    probe,
    sounds_that_fit,
)
from .frames import RawFrames, as_file, frame_header, header, raw_writer, read_frames
from .smoothing import SmoothMask

Done = TypeVar("Done")
Alpha: TypeAlias = NDArray[np.float32]
VIDEO_SUFFIXES = (".mov", ".webm")
_CODECS = {
    # 12 bits of alpha, what editing programs take; sound as it was, or uncompressed.
    ".mov": "-c:v prores_ks -profile:v 4444 -alpha_bits 16 -vendor apl0",
    # What browsers play. Alpha needs auto-alt-ref off.
    ".webm": "-c:v libvpx-vp9 -auto-alt-ref 0 -crf 24 -b:v 0 -row-mt 1 -deadline good -cpu-used 4",
}
_GRAY_CODECS = {
    ".mov": "-c:v prores_ks -profile:v hq -vendor apl0",
    ".webm": "-c:v libvpx-vp9 -crf 24 -b:v 0 -row-mt 1 -deadline good -cpu-used 4",
}
_PIXELS = {".mov": "yuva444p10le", ".webm": "yuva420p"}
_GRAY_PIXELS = {".mov": "yuv422p10le", ".webm": "yuv420p"}
_OPUS_LAYOUTS = "7.1|6.1|5.1|5.0|quad|3.0|stereo|mono"
"""What Opus knows (RFC 7845, 5.1.1.2); ffmpeg mixes others to the nearest."""
_SOUND = {
    ".mov": "-c:a pcm_s16le",
    ".webm": f"-c:a libopus -af aformat=channel_layouts={_OPUS_LAYOUTS}",
}
_COLORS = "-color_primaries bt709 -color_trc bt709 -colorspace bt709 -color_range tv"
_LUT_SIDE = 49
"""Colors a side of the table by which HDR becomes sRGB: it errs by .2 levels in the mean."""
_TRANSFERS = {"smpte2084": PQ, "arib-std-b67": HLG}
_NARROW = "zscale=pin=bt2020:p=bt709:t=bt709:m=bt709"
_LOOKED_THROUGH = 250
"""Frames behind the first word of damage that are searched for the place."""
_EARLY_S, _EARLY_SHARE = 1.0, 0.05
"""How much a video may be shorter than it says, in seconds and as a share."""


def cut_out_video(
    source: Path | RawFrames,
    target: Path | IO[bytes],
    segmenter: Segmenter,
    *,
    name: str | None = None,
    style: Style | None = None,
    smooth: bool = False,
    batch: int = 1,
    progress: Callable[[int], None] = lambda frames: None,
    note: Callable[[str], None] = lambda text: None,
    stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Cut the subject out of every frame.

    Frames pass through pipes: memory is bounded and nothing but the result is written. Each is
    cut out by itself, unless `smooth` is asked for. Frames keep their times and the shape of
    their pixels; transparency that the video has is multiplied in. Colors are 8-bit BT.709, to
    which HDR is tone-mapped. Sound, title, creation time and timecode go along, the place where it
    was filmed doesn't.

    Args:
        source: any file that ffmpeg reads, or bare frames. A pipe is copied to a temporary file.
        target: ends in `.mov` for ProRes 4444 or `.webm` for VP9, both with alpha; appears whole
            or not at all. A stream is given bare frames of 8-bit RGBA, as they are made.
        segmenter: the open model.
        name: what messages call the source; by default its path.
        style: how frames are composed; must stay transparent, uncropped and without a layout, or be
            a mask, which is written as gray: ProRes 422 HQ, VP9 without alpha, or bare frames of 8
            bits a pixel.
        smooth: smooth the mask in time where the picture stays the same.
        batch: how many frames may go through the graph at once.
        progress: called with the number of frames done, after each.
        note: called with a line for people, before the first frame: of a sound track that can't be
            kept, or of fields that are made whole frames.
        stopped: asked before each frame; once true, the video is given up.

    Returns:
        How many frames were written.

    Raises:
        MissingExtraError: ffmpeg is not installed.
        ImageError: the file is not a video that ffmpeg reads, is damaged, or ends early; says at
            which frame.
        OutputError: it can't be written, or was stopped.
        BrokenPipeError: the reader of a stream has left.
    """
    if isinstance(target, Path):
        check_target(target)
    work = _Work(segmenter, style or Style(), smooth, batch, stopped)
    with ExitStack() as stack:
        if isinstance(source, RawFrames):
            film = _Film(source, str(source), source.footage)
        else:
            name = name or str(source)
            source = stack.enter_context(as_file(source, name))
            film = _Film(source, name, probe(source, name))
        if not isinstance(target, Path):
            return _convert(film, target, work, progress, note)
        try:
            if isinstance(source, Path) and target.exists() and source.samefile(target):
                raise OutputError(f"{source}: {target} is an input; not overwritten")
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as temporary:
                return _convert(film, _Target(temporary, target), work, progress, note)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise OutputError(f"{target}: can't be written: {reason}") from error


def check_target(target: Path) -> None:
    """Check that a file can be written by its suffix; before any work is done.

    Raises:
        OutputError: it can't.
    """
    if target.suffix.lower() not in VIDEO_SUFFIXES:
        raise OutputError(f"{target}: video with alpha is written as .mov or .webm, or to -")


@dataclass(frozen=True, slots=True)
class _Film:
    """What is read, what messages call it, and its facts."""

    source: Path | RawFrames
    name: str
    footage: Footage

    def __str__(self) -> str:
        return self.name

    @contextmanager
    def decoded(self, times: list[int]) -> Iterator[Iterator[Picture]]:
        """Its frames, as `_pictures` gives them."""
        if isinstance(self.source, RawFrames):
            yield self.source.pictures(times)
            return
        with ExitStack() as stack:
            table = None
            if self.footage.transfer:
                folder = stack.enter_context(TemporaryDirectory(prefix="birefnet-"))
                table = Path(folder, "hdr.cube")
                write_tone_map(table, self.footage.transfer)
            command = _decoding(self, self.source, table)
            decoder = stack.enter_context(Ffmpeg(command, reads=False))
            yield _pictures(self, decoder, times)
            decoder.finish(self, ImageError, "ffmpeg can't decode it")


@dataclass(frozen=True, slots=True)
class _Target:
    """The file that is written, and the one that it becomes."""

    temporary: Path
    path: Path

    @property
    def suffix(self) -> str:
        """Of the container."""
        return self.path.suffix.lower()


@dataclass(frozen=True, slots=True)
class _Work:
    """How frames are cut out."""

    segmenter: Segmenter
    style: Style
    smooth: bool
    batch: int
    stopped: Callable[[], bool]

    def results(self, pictures: Iterator[Picture]) -> Generator[memoryview, None, None]:
        """Composed frames, in order: RGBA, or gray of masks."""
        if not self.smooth:
            yield from self._cut_out(pictures, self._composed)
            return
        smoothed = SmoothMask()  # needs them in order, which only those that are done have

        def compose_pair(pair: tuple[Picture, Alpha]) -> memoryview:
            return self._composed(*pair)

        with closing(self._cut_out(pictures, lambda picture, alpha: (picture, alpha))) as pairs:
            calm = ((picture, smoothed(picture, alpha)) for picture, alpha in pairs)
            yield from ahead(compose_pair, calm, usable_cores())

    def _cut_out(
        self, pictures: Iterator[Picture], then: Callable[[Picture, Alpha], Done]
    ) -> Generator[Done, None, None]:
        def finish(prepared: Prepared, prediction: Prediction) -> Done:
            return then(prepared.picture, self.segmenter.finish(prepared, prediction))

        return overlap(
            pictures,
            self.segmenter.prepare,
            self.segmenter.run,
            finish,
            batch=self.batch,
            stopped=self.stopped,
        )

    def _composed(self, picture: Picture, alpha: Alpha) -> memoryview:
        return compose(picture, alpha, self.style, threads=1).pixels.data


def _convert(
    film: _Film,
    target: _Target | IO[bytes],
    work: _Work,
    progress: Callable[[int], None],
    note: Callable[[str], None],
) -> int:
    if film.footage.field_order:
        whole = (
            "is made whole frames"
            if deinterlacing(film.footage)
            else ("stays so, for this ffmpeg has no filter for it (bwdif)")
        )
        note(f"{film}: interlaced, and {whole}")
    sounds = _sounds(film, target, note) if isinstance(target, _Target) else []
    times: list[int] = []
    done = 0
    with (
        film.decoded(times) as pictures,
        _writer(film, target, sounds, gray=work.style.mask) as write,
        closing(work.results(pictures)) as frames,
    ):
        for frame in frames:
            write(times[done], frame)
            done += 1
            progress(done)
        if work.stopped():
            kept = "nothing was written" if isinstance(target, _Target) else "they were written"
            raise OutputError(f"{film}: stopped after {done} frames; {kept}")
        if not done:
            raise ImageError(f"{film}: there are no frames in it")
    return done


def _sounds(film: _Film, target: _Target, note: Callable[[str], None]) -> list[Sound]:
    """The sound tracks that the target can keep; there is a line for each of the others."""
    if not isinstance(film.source, Path):
        return []
    options, container = _SOUND[target.suffix].split(), target.suffix.removeprefix(".")
    fit, unfit = sounds_that_fit(film.source, film.footage, options, container)
    for sound in unfit:
        note(f"{film}: {sound} is left out; it can't be kept in {target.suffix}")
    return fit


@contextmanager
def _writer(
    film: _Film, target: _Target | IO[bytes], sounds: list[Sound], *, gray: bool
) -> Iterator[Callable[[int, memoryview], None]]:
    """A function that takes each frame and its time in milliseconds."""
    if not isinstance(target, _Target):
        yield raw_writer(target)
        return
    with Ffmpeg(_encoding(film, target, sounds, gray), reads=True) as encoder:

        def write(time_ms: int, frame: memoryview) -> None:
            encoder.stream.write(frame_header(time_ms, frame.nbytes))
            encoder.stream.write(frame)

        with suppress(BrokenPipeError):  # it says below why it ended
            encoder.stream.write(header(film.footage.size, gray=gray))
            yield write
        hidden = str(target.temporary)
        encoder.finish(target.path, OutputError, "ffmpeg can't write it", hidden=hidden)


def _pictures(film: _Film, decoder: Ffmpeg, times: list[int]) -> Iterator[Picture]:
    """Frames as they are decoded; their times, in milliseconds, are added to `times`.

    Raises:
        ImageError: the video is damaged, or ends early.
    """
    footage = film.footage
    frames = read_frames(decoder.stream, footage.size)
    for time_ms, pixels in frames:
        if damage := decoder.damage():
            seen = [*times, time_ms, *(time for time, _ in islice(frames, _LOOKED_THROUGH))]
            raise _damaged(film, _first_gap(seen, footage), damage)
        times.append(time_ms)
        opacity = np.ascontiguousarray(pixels[..., 3]) if footage.alpha else None
        yield Picture(np.ascontiguousarray(pixels[..., :3]), opacity)
    if damage := decoder.damage():
        raise _damaged(film, _first_gap(times, footage), damage)
    if times and footage.duration_s:
        missing_s = footage.duration_s - times[-1] / 1000 - float(1 / footage.rate)
        if missing_s > max(_EARLY_S, _EARLY_SHARE * footage.duration_s):
            raise _damaged(film, len(times), f"it ends {missing_s:.3g} s early")


def _damaged(film: _Film, frame: int, reason: str) -> ImageError:
    return ImageError(f"{film}: damaged after frame {frame}: {reason}; nothing was written")


def _first_gap(times: list[int], footage: Footage) -> int:
    """The number of the last frame before one is missing."""
    step = 1500 / float(footage.rate)
    gaps = (number for number, (a, b) in enumerate(pairwise(times), 1) if b - a > step)
    return next(gaps, len(times))


def write_tone_map(file: Path, transfer: str) -> None:
    """Write what `normalize` makes of HDR's colors, as a table that ffmpeg's filter `lut3d` reads.

    Args:
        file: ends in `.cube`.
        transfer: ffmpeg's name of HDR's transfer function.
    """
    levels = np.rint(np.linspace(0, 65535, _LUT_SIDE)).astype(np.uint16)
    blue, green, red = np.meshgrid(levels, levels, levels, indexing="ij")  # red changes fastest
    colors = np.stack([red, green, blue], axis=-1).reshape(_LUT_SIDE, -1, 3)
    normalize(colors, CodePoints(9, _TRANSFERS[transfer]))
    head = f"LUT_3D_SIZE {_LUT_SIDE}"
    np.savetxt(file, colors.reshape(-1, 3) / 65535, fmt="%.5f", header=head, comments="")


def _decoding(film: _Film, source: Path, tone_map: Path | None) -> list[str]:
    """Arguments that make RGBA with times: turned upright, in the colors of BT.709."""
    footage = film.footage
    filters = [f"scale=in_color_matrix={footage.matrix}:flags=accurate_rnd+full_chroma_int"]
    if footage.transfer and footage.alpha:
        raise ImageError(f"{film}: HDR with alpha is not supported; convert it to BT.709 first")
    if tone_map is not None:
        path = tone_map.as_posix().replace(":", "\\:")
        filters = ["scale=in_color_matrix=bt2020:flags=accurate_rnd+full_chroma_int"]
        filters += ["format=rgb48le", f"lut3d=file='{path}'"]
    elif footage.wide:
        if not has_filter("zscale"):
            raise ImageError(
                f"{film}: its colors are BT.2020's, for which this ffmpeg lacks zscale; convert it "
                "to BT.709 first"
            )
        filters = [_NARROW]
    if footage.field_order and (whole := deinterlacing(footage)):
        filters.insert(0, whole)
    command = ["-nostdin", *(["-c:v", footage.decoder] if footage.decoder else [])]
    command += ["-i", named(source), "-map", f"0:{footage.stream}", "-vf", ",".join(filters)]
    command += ["-enc_time_base", "1:1000", "-c:v", "rawvideo", "-pix_fmt", "rgba"]
    return [*command, "-f", "matroska", "-"]


def _encoding(film: _Film, target: _Target, sounds: list[Sound], gray: bool) -> list[str]:
    """Arguments that take RGBA or gray with times, and the sound of the source beside it."""
    footage, suffix = film.footage, target.suffix
    command = ["-nostats", "-y", "-f", "matroska", "-i", "-"]
    if sounds and isinstance(film.source, Path):
        command += ["-i", named(film.source), "-map", "0:v", *_SOUND[suffix].split()]
        command += [part for sound in sounds for part in ("-map", f"1:{sound.stream}")]
    for tag, text in footage.tags.items():
        command += ["-metadata", f"{tag}={text}"]
    if footage.timecode:
        command += ["-metadata", f"timecode={footage.timecode}"]
    pixels, codec = (_GRAY_PIXELS, _GRAY_CODECS) if gray else (_PIXELS, _CODECS)
    filters = [
        "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int",
        f"format={pixels[suffix]}",
        "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv",
        f"setsar={footage.pixel_aspect}",
    ]
    if footage.even:  # milliseconds back to the exact rate
        command += ["-r", str(footage.rate)]
    else:
        command += ["-fps_mode", "vfr", "-enc_time_base", "1:1000"]
    command += ["-vf", ",".join(filters), *codec[suffix].split(), *_COLORS.split()]
    return [*command, named(target.temporary)]
