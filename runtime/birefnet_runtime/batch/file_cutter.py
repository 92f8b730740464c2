"""Image files to result files, with a report of each."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from birefnet_models.errors import BirefnetError
from numpy.typing import NDArray

from ..cutout.compose import Style, compose
from ..cutout.subject import Subject
from ..errors import ImageError, OutputError
from ..images.read import decode, open_image, pixels_of
from ..images.write import Encoding
from ..machine.pipeline import Finished, overlap
from ..segmenter import Prepared, Segmenter
from .animation import cut_out_frames, is_animated
from .plan import STANDARD_STREAM, Job


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
    """

    segmenter: Segmenter
    style: Style = field(default_factory=Style)
    encoding: Encoding = field(default_factory=Encoding)
    all_frames: bool = False
    skip_existing: bool = False
    batch: int = 1

    def cut_out(
        self, jobs: Iterable[Job], *, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[FileReport]:
        """Do the jobs: reading, the graph and writing overlap, and memory stays bounded.

        Args:
            jobs: as `plan_cutouts` makes them.
            stopped: asked before each file; once true, those in hand are finished, the rest left.

        Yields:
            A report of each, in order. A file that fails has an error in it and the others go on.
        """
        return overlap(
            jobs,
            self._read,
            self._run,
            self._write,
            failed=_failed,
            weigh=self._weigh,
            batch=self.batch,
            stopped=stopped,
        )

    def _weigh(self, job: Job) -> int:
        if job.source == STANDARD_STREAM or self._is_there(job):
            return 0
        return pixels_of(job.source)

    def _is_there(self, job: Job) -> bool:
        return self.skip_existing and job.target != STANDARD_STREAM and job.target.exists()

    def _read(self, job: Job) -> _Read | Finished[FileReport]:
        if self._is_there(job):
            return Finished(FileReport(job, skipped=True))
        started = time.perf_counter()
        source = sys.stdin.buffer.read() if job.source == STANDARD_STREAM else job.source
        name = "standard input" if isinstance(source, bytes) else None
        with open_image(source, name) as (image, known_as):
            if self.all_frames and is_animated(image):
                content = source if isinstance(source, bytes) else source.read_bytes()
                return Finished(self._cut_out_frames(job, content))
            prepared = self.segmenter.prepare(decode(image, known_as))
        return _Read(job, prepared, {"read": time.perf_counter() - started})

    def _run(self, read: Sequence[_Read]) -> list[NDArray[np.float32]]:
        started = time.perf_counter()
        logits = self.segmenter.run([each.prepared for each in read])
        run_s = (time.perf_counter() - started) / len(read)
        for each in read:
            each.seconds["run"] = run_s
        return logits

    def _write(self, read: _Read, logits: NDArray[np.float32]) -> FileReport:
        started = time.perf_counter()
        job, picture = read.job, read.prepared.picture
        alpha = self.segmenter.finish(read.prepared, logits)
        result = compose(picture, alpha, self.style, threads=1)
        composed = time.perf_counter()
        target = sys.stdout.buffer if job.target == STANDARD_STREAM else job.target
        result.save(target, self.encoding)
        written = time.perf_counter()
        return FileReport(
            job,
            image_size=picture.size,
            model_size=self.segmenter.model_size(picture.size),
            subject=result.subject,
            seconds={**read.seconds, "compose": composed - started, "write": written - composed},
        )

    def _cut_out_frames(self, job: Job, content: bytes) -> FileReport:
        done = cut_out_frames(content, job, self.segmenter, self.style, self.encoding)
        return FileReport(
            job,
            image_size=done.image_size,
            model_size=self.segmenter.model_size(done.image_size),
            subject=done.subject,
            frames=done.frames,
            seconds={"animation": done.seconds},
        )


def _failed(job: Job, error: Exception) -> FileReport:
    if not isinstance(error, BirefnetError):
        error = ImageError(f"{job.source}: not enough memory for it")
    return FileReport(job, error)
