"""Image files to result files, with a report of each."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

from birefnet_models.base.errors import BirefnetError
from birefnet_runtime.cutout.compose import Style, compose
from birefnet_runtime.cutout.mask import Subject
from birefnet_runtime.cutout.memory import SLACK_BYTES, check_canvas, check_fits, peak_bytes
from birefnet_runtime.cutout.refine import Prediction
from birefnet_runtime.errors import ImageError, ModelError, OutputError
from birefnet_runtime.images.read import decode, open_image, pixel_limit
from birefnet_runtime.images.write import PNG, Encoding
from birefnet_runtime.model.graph_io import Prepared
from birefnet_runtime.pipeline import CAPACITY, Finished, ahead, overlap
from birefnet_runtime.segmenter import Opening, Segmenter

from ..storage import file_at
from .animation import cut_out_frames, is_animated
from .jobs import Job


def check_style(style: Style, encoding: Encoding) -> None:
    """Check that a style can be written in a format; before any work is done.

    Raises:
        OutputError: it can't.
    """
    form = encoding.format
    if not (form.transparent or style.mask or style.background):
        raise OutputError(
            f"{form.name.upper()} has no transparency; give a background, or another format"
        )
    if style.depth == 16 and not form.deep:
        raise OutputError(f"{form.name.upper()} holds 8 bits a channel, not 16")
    if style.premultiply and (style.mask or style.background):
        raise OutputError("only a transparent cutout has colors to premultiply")
    if style.layout is not None and style.crop is not None:
        raise OutputError("a canvas has a frame of its own; leave the crop out, or the canvas")


@dataclass(frozen=True, slots=True)
class FileReport:
    """Result of one file.

    Attributes:
        job: the file, and where its result went.
        error: why there is no result.
        skipped: whether the result was there already.
        image_size: (height, width) in pixels.
        model_size: (height, width) at which the network ran.
        subject: the subject, in the image's pixels; of an animation, in its first frame.
        frames: how many were written.
        seconds: wall time of each step: `read`, `run`, `compose`, `write`.
    """

    job: Job
    error: BirefnetError | None = None
    skipped: bool = False
    image_size: tuple[int, int] | None = None
    model_size: tuple[int, int] | None = None
    subject: Subject | None = None
    frames: int = 1
    seconds: dict[str, float] = field(default_factory=dict)

    def as_record(self) -> dict[str, Any]:
        """The same as JSON has it."""
        record: dict[str, Any] = {"input": str(self.job.source), "output": str(self.job.target)}
        if self.error is not None:
            return {**record, "output": None, "error": str(self.error)}
        if self.skipped:
            return {**record, "skipped": True}
        return {
            **record,
            "image_size": self.image_size,
            "model_size": self.model_size,
            "frames": self.frames,
            **(asdict(self.subject) if self.subject else {}),
            "seconds": {step: round(took, 4) for step, took in self.seconds.items()},
        }


@dataclass(frozen=True, slots=True)
class _Opened:
    """A job whose turn has come.

    Attributes:
        job: the files.
        source: the image's path, or its bytes where they can be read but once.
        needed_bytes: what the picture will take at its peak.
        error: why it can't be read.
        is_there: whether the result is there and stays.
    """

    job: Job
    source: Path | bytes
    needed_bytes: float = 0
    error: BirefnetError | None = None
    is_there: bool = False


@dataclass(frozen=True, slots=True)
class _Read:
    """A job whose image is in memory."""

    job: Job
    prepared: Prepared
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class FileCutter:
    """How files are cut out.

    Attributes:
        segmenter: the open model.
        style: what comes out.
        encoding: how it is written.
        all_frames: animations come out as animations.
        skip_existing: a file whose result is there is not done again.
        batch: how many images may go through the graph at once.
        max_pixels: a larger image is not read; by default Pillow's bound.
        workers: threads that read and write beside the graph; by default as many as cores may be
            used.
        ahead: how many files are fetched before their turn, from an object store, where each takes
            a while. Their bytes are held beyond what `max_memory` counts but for one.
    """

    segmenter: Segmenter
    style: Style = field(default_factory=Style)
    encoding: Encoding = field(default_factory=Encoding)
    all_frames: bool = False
    skip_existing: bool = False
    batch: int = 1
    max_pixels: int | None = None
    workers: int | None = None
    ahead: int = 0

    def cut_out(
        self, jobs: Iterable[Job], *, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[FileReport]:
        """Do the jobs: reading, the graph and writing overlap, and memory stays bounded.

        Where the segmenter has a limit of memory, no more is under way than it leaves beside the
        model, and a picture that would take more is not decoded.

        Args:
            jobs: as `plan_cutouts` makes them.
            stopped: asked before each file; once true, those in hand are finished, the rest left.

        Yields:
            A report of each, in order. A file that fails has an error in it and the others go on.
        """
        left = self.segmenter.memory_left
        opened = ahead(self._open, jobs, self.ahead) if self.ahead else map(self._open, jobs)
        return overlap(
            opened,
            self._read,
            self._run,
            self._write,
            failed=_failed,
            weigh=attrgetter("needed_bytes"),
            capacity=CAPACITY if left is None else left - SLACK_BYTES,
            batch=self.batch,
            workers=self.workers,
            stopped=stopped,
        )

    def _open(self, job: Job) -> _Opened:
        source: Path | bytes = b""
        try:
            keeps = self.skip_existing or not job.overwrite
            if keeps and file_at(job.target).exists():
                return _Opened(job, source, is_there=True)
            source = file_at(job.source).read()
            with open_image(source, job.name, max_pixels=self.max_pixels) as (image, _):
                check_canvas(job.name, image, self.style, pixel_limit(self.max_pixels))
                needed = peak_bytes(image, self.style, self.encoding)
                if self.all_frames and self.encoding.format == PNG:
                    needed += 4 * image.width * image.height * getattr(image, "n_frames", 1)
                needed += len(source) if isinstance(source, bytes) else 0
                if self.segmenter.memory_left is not None:
                    check_fits(job.name, image, needed, self.segmenter.memory_left)
        except BirefnetError as error:
            return _Opened(job, source, error=error)
        return _Opened(job, source, needed)

    def _read(self, opened: _Opened) -> _Read | Finished[FileReport]:
        job, source = opened.job, opened.source
        if opened.is_there:
            return Finished(FileReport(job, skipped=True))
        if opened.error is not None:
            raise opened.error
        started = time.perf_counter()
        with open_image(source, job.name, max_pixels=self.max_pixels) as (image, _):
            animated = self.all_frames and is_animated(image)
            picture = None if animated else decode(image, job.name)
        if picture is None:
            return Finished(self._cut_out_frames(job, source))
        prepared = self.segmenter.prepare(picture)
        return _Read(job, prepared, {"read": time.perf_counter() - started})

    def _run(self, read: Sequence[_Read]) -> list[Prediction]:
        started = time.perf_counter()
        predictions = self.segmenter.run([each.prepared for each in read])
        run_s = (time.perf_counter() - started) / len(read)
        for each in read:
            each.seconds["run"] = run_s
        return predictions

    def _write(self, read: _Read, prediction: Prediction) -> FileReport:
        started = time.perf_counter()
        job, picture = read.job, read.prepared.picture
        alpha = self.segmenter.finish(read.prepared, prediction)
        result = compose(picture, alpha, self.style, threads=1)
        composed = time.perf_counter()
        result.save(file_at(job.target).sink(), self.encoding)
        written = time.perf_counter()
        return FileReport(
            job,
            image_size=picture.size,
            model_size=self.segmenter.model_size(picture.size),
            subject=result.subject,
            seconds={**read.seconds, "compose": composed - started, "write": written - composed},
        )

    def _cut_out_frames(self, job: Job, source: Path | bytes) -> FileReport:
        done = cut_out_frames(source, job, self.segmenter, self.style, self.encoding)
        return FileReport(
            job,
            image_size=done.image_size,
            model_size=self.segmenter.model_size(done.image_size),
            subject=done.subject,
            frames=done.frames,
            seconds={"animation": done.seconds},
        )


def _failed(item: _Opened | _Read, error: Exception) -> FileReport:
    """Report of a file that failed, whatever its stage raised."""
    if isinstance(error, MemoryError):
        error = ImageError(f"{item.job.name}: not enough memory for it")
    elif isinstance(error, ModelError):  # a run knows tensors, and no files
        error = ModelError(f"{item.job.name}: {error}")
    elif not isinstance(error, BirefnetError):
        error = ImageError(f"{item.job.name}: can't be cut out: {error}")
    return FileReport(item.job, error)


# How pictures are cut out, as data: what one process tells another.


FETCHED_AHEAD = 8
"""Files of an object store that are asked for before their turn: one takes some tens of
milliseconds, most of which is waiting."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that `open` needs to make a FileCutter. Can be pickled.

    Attributes:
        model, opening: as `Segmenter` takes them.
        style, encoding, all_frames, skip_existing, batch, max_pixels: as `FileCutter` has them.
        remote: whether files lie in an object store.
    """

    model: str | os.PathLike[str] = "nano"
    opening: Opening = field(default_factory=Opening)
    style: Style = field(default_factory=Style)
    encoding: Encoding = field(default_factory=Encoding)
    all_frames: bool = False
    skip_existing: bool = False
    batch: int = 1
    max_pixels: int | None = None
    remote: bool = False

    def open(self) -> FileCutter:
        """Open the model.

        Raises:
            BirefnetError: as `Segmenter`.
        """
        return FileCutter(
            Segmenter(self.model, **self.opening),
            self.style,
            self.encoding,
            self.all_frames,
            self.skip_existing,
            self.batch,
            self.max_pixels,
            workers=self.opening.get("threads"),
            ahead=self._ahead(),
        )

    def _ahead(self) -> int:
        if not self.remote:
            return 0
        return 1 if self.opening.get("max_memory") else FETCHED_AHEAD
