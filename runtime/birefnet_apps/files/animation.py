"""Animated images: every frame cut out, into an animated WebP or PNG."""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from birefnet_runtime.cutout.compose import Style
from birefnet_runtime.cutout.mask import Subject
from birefnet_runtime.errors import OutputError
from birefnet_runtime.images.picture import to_eight_bits
from birefnet_runtime.images.pillow_settings import DECODING_ERRORS
from birefnet_runtime.images.read import decoding_error, open_image, picture_of
from birefnet_runtime.images.write import Encoding, open_output, pillow_options
from birefnet_runtime.segmenter import Segmenter
from PIL import Image

from ..storage import absolute, file_at
from .jobs import Job, origin_mark
from .steps import first_frame

_FRAME_MS = 100
"""How long a frame is shown that says 0, as in browsers."""


@dataclass(frozen=True, slots=True)
class FramesReport:
    """Result of one animation.

    Attributes:
        image_size: (height, width) in pixels.
        frames: how many there are.
        subject: that of the first frame.
        seconds: wall time of the whole.
    """

    image_size: tuple[int, int]
    frames: int
    subject: Subject
    seconds: float


def cut_out_frames(
    source: Path | bytes, job: Job, segmenter: Segmenter, style: Style, encoding: Encoding
) -> FramesReport:
    """Cut the subject out of every frame, one after another.

    Frames are not cropped or laid out one by one, which would make the subject jump: `style.crop`
    and `style.layout` are refused.

    Args:
        source: the animation's file, or its bytes.
        job: the file that it comes from, and the one to write.
        segmenter: the open model.
        style: what comes out.
        encoding: WebP or PNG.

    Raises:
        OutputError: the format holds no animation.
        ImageError: the file is damaged.
    """
    if encoding.format.name not in {"webp", "png"}:
        raise OutputError(f"{job.target}: animations are written as WebP or PNG")
    if style.crop is not None or style.layout is not None:
        raise OutputError(
            f"{job.name}: frames of an animation can't be cropped or put on a canvas: the subject "
            "would jump; leave that out, or --all-frames"
        )
    started = time.perf_counter()
    subjects: list[Subject] = []

    def cut(frame: Image.Image) -> Image.Image:
        result = segmenter.compose(picture_of(frame, job.name), style)
        subjects.append(result.subject)
        return Image.fromarray(to_eight_bits(result.pixels))

    with open_image(source, job.name) as (image, _):
        frames = _Frames(image, job.name, cut)
        common = {"save_all": True, "loop": image.info.get("loop", 1)}
        content = io.BytesIO()
        with open_output(content):
            if encoding.format.name == "webp":
                options = {**common, **pillow_options(encoding)}
                frames.save(content, "WEBP", duration=frames.durations, **options)
            else:
                first, *others = frames.all()
                options = {**common, "append_images": others, "blend": 0}
                first.save(content, "PNG", duration=frames.durations, **options)
        mark = origin_mark(job.key or absolute(job.source), source)
        file_at(job.target).write(content.getvalue(), mark)
        size = (image.height, image.width)
    return FramesReport(size, frames.n_frames, subjects[0], time.perf_counter() - started)


class _Frames(Image.Image):
    """To Pillow's writers an opened animation; each frame is made when they come to it.

    So no more than one is in memory, where a list of frames would hold them all. The PNG writer
    goes through them twice and needs the list.

    Args:
        source: the opened animation.
        name: what messages call it.
        cut: cuts the subject out of a frame.
    """

    n_frames: int

    def __init__(self, source: Any, name: str, cut: Callable[[Image.Image], Image.Image]) -> None:
        super().__init__()
        self._source = source
        self._name = name
        self._cut = cut
        self._place = -1
        self._first = first_frame(source)
        self.n_frames = source.n_frames - self._first
        self.durations: list[float] = []
        self.seek(0)

    def all(self) -> list[Image.Image]:
        """Every frame, made."""
        made = []
        for frame in range(self.n_frames):
            self.seek(frame)
            made.append(self.copy())
        return made

    def tell(self) -> int:
        return max(0, self._place)

    def seek(self, frame: int) -> None:
        if frame >= self.n_frames:
            raise EOFError
        if frame <= self._place:
            return  # a writer goes back to the first frame when it is done
        self._place = frame
        try:
            self._source.seek(self._first + frame)
            self._source.load()
        except DECODING_ERRORS as error:
            raise decoding_error(self._name, error) from error
        self.durations.append(self._source.info.get("duration") or _FRAME_MS)
        made = self._cut(self._source)
        self.im = made.im
        self._mode, self._size = made.mode, made.size
