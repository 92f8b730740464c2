"""Files to files: a plan carried out, with a report of each."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from birefnet_models.errors import BirefnetError
from numpy.typing import NDArray

from ..cutout.compose import Style, compose
from ..cutout.subject import Subject
from ..errors import OutputError
from ..images.picture import Picture
from ..images.read import decode, open_image, pixels_of
from ..images.write import Encoding
from ..machine.pipeline import overlap
from ..model.postprocess import to_alpha
from ..segmenter import Segmenter
from .animation import cut_out_frames, is_animated
from .plan import STANDARD_STREAM, Job


def check_style(style: Style, encoding: Encoding) -> None:
    """Whether what comes out can be written so; before any work is done.

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
class Report:
    """What became of one file.

    Attributes:
        job: which file, and where its result went.
        error: why there is no result.
        skipped: the result was there already.
        image_size: (height, width) in pixels.
        model_size: (height, width) at which the network ran.
        subject: what was found, in the image's pixels; of an animation, in its first frame.
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
        found = asdict(self.subject) if self.subject else {}
        return {
            **record,
            "image_size": self.image_size,
            "model_size": self.model_size,
            "frames": self.frames,
            **found,
            "seconds": {step: round(took, 4) for step, took in self.seconds.items()},
        }


@dataclass(frozen=True, slots=True)
class _Read:
    """A job whose image is in memory; one with an error, a skipped one or an animation has none."""

    report: Report
    picture: Picture | None = None
    tensor: NDArray[np.float32] | None = None
    animated: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    logits: NDArray[np.float32] | None = None
    error: BirefnetError | None = None
    run_s: float = 0.0


@dataclass(frozen=True, slots=True)
class FileCutter:
    """How files are done.

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
    ) -> Iterator[Report]:
        """Do the jobs: reading, the graph and writing overlap, and memory stays bounded.

        Args:
            jobs: as `plan` makes them.
            stopped: asked before each file; once true, those in hand are finished, the rest left.

        Yields:
            A report of each, in order. A file that fails has an error in it and the others go on.
        """
        return overlap(
            jobs,
            self._read,
            self._run,
            self._write,
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

    def _read(self, job: Job) -> _Read:
        if self._is_there(job):
            return _Read(Report(job, skipped=True))
        started = time.perf_counter()
        try:
            source = sys.stdin.buffer.read() if job.source == STANDARD_STREAM else job.source
            name = "standard input" if isinstance(source, bytes) else None
            with open_image(source, name) as (image, known_as):
                if self.all_frames and is_animated(image):
                    content = source if isinstance(source, bytes) else source.read_bytes()
                    return _Read(Report(job), animated=content)
                picture = decode(image, known_as)
            tensor = self.segmenter.tensor(picture)
        except BirefnetError as error:
            return _Read(Report(job, error))
        read_s = time.perf_counter() - started
        report = Report(
            job,
            image_size=picture.size,
            model_size=(tensor.shape[2], tensor.shape[3]),
            seconds={"read": read_s},
        )
        return _Read(report, picture, tensor)

    def _run(self, read: Sequence[_Read]) -> list[_Answer]:
        tensors = [each.tensor for each in read if each.tensor is not None]
        started = time.perf_counter()
        try:
            found = iter(self.segmenter.run(tensors))
        except BirefnetError as error:
            return [_Answer(error=error) for _ in read]
        run_s = (time.perf_counter() - started) / max(1, len(tensors))
        return [
            _Answer() if each.tensor is None else _Answer(next(found), run_s=run_s) for each in read
        ]

    def _write(self, read: _Read, answer: _Answer) -> Report:
        report = read.report
        if report.error or report.skipped:
            return report
        if answer.error is not None:
            return replace(report, error=answer.error)
        try:
            if read.animated is not None:
                return self._write_frames(report, read.animated)
            assert read.picture is not None
            assert answer.logits is not None
            return self._write_one(report, read.picture, answer)
        except MemoryError:
            error = OutputError(f"{report.job.source}: not enough memory for the result")
            return replace(report, error=error)
        except BirefnetError as error:
            return replace(report, error=error)

    def _write_one(self, report: Report, picture: Picture, answer: _Answer) -> Report:
        started = time.perf_counter()
        assert answer.logits is not None
        alpha = to_alpha(answer.logits, picture.size)
        result = compose(picture, alpha, self.style, threads=1)
        composed = time.perf_counter()
        target = report.job.target
        result.save(sys.stdout.buffer if target == STANDARD_STREAM else target, self.encoding)
        steps = {
            "run": answer.run_s,
            "compose": composed - started,
            "write": time.perf_counter() - composed,
        }
        return replace(report, subject=result.subject, seconds={**report.seconds, **steps})

    def _write_frames(self, report: Report, content: bytes) -> Report:
        done = cut_out_frames(content, report.job, self.segmenter, self.style, self.encoding)
        return replace(
            report,
            image_size=done.image_size,
            model_size=self.segmenter.model_size(done.image_size),
            subject=done.subject,
            frames=done.frames,
            seconds={"animation": done.seconds},
        )
