"""Image files to result files, with a report of each."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from birefnet_models.base.errors import BirefnetError
from birefnet_runtime.cutout.compose import Result, Style
from birefnet_runtime.cutout.memory import SLACK_BYTES
from birefnet_runtime.cutout.refine import Prediction
from birefnet_runtime.errors import ImageError, ModelError, OutputError
from birefnet_runtime.images.write import Encoding
from birefnet_runtime.pipeline import Finished, ahead, bare, overlap
from birefnet_runtime.segmenter import Opening, Segmenter
from birefnet_runtime.session.memory import PICTURE_BYTES

from ..storage import (
    CredentialsError,
    LocalFile,
    RemotePath,
    absolute,
    file_at,
    shown,
)
from .animation import cut_out_frames
from .jobs import FileReport, Job, may_be_of, origin_mark
from .steps import Ready, Task, Weight, budget, finish, read, weigh

DOWNLOADS, UPLOADS = 8, 16
"""Files of an object store that are on their way at once, however many threads work: one takes
some tens of milliseconds or more, most of which is waiting."""
MOST_UPLOAD_BYTES = 256e6
"""Of results that are on their way; one that is larger goes alone."""


LOOKED_AT = 32
"""Pictures whose headers are read before the model is opened, where memory is bounded."""


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


@dataclass(slots=True)
class _Turn:
    """A job whose turn has come: filled in from step to step.

    Attributes:
        job: the files.
        task: what is made of the picture; None where nothing is.
        weight: what that takes.
        bytes: of memory at its peak, its file's content among that.
        ready: the picture in memory.
        error: why it can't be read.
        seconds: wall time of each step.
        details: as `FileReport` has them.
    """

    job: Job
    task: Task | None = None
    weight: Weight | None = None
    bytes: float = 0
    ready: Ready | None = None
    error: BirefnetError | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Made:
    """A result that goes to an object store.

    Attributes:
        report: of its file, but for the time of writing.
        content: the result's file.
        mark: whose result it is.
    """

    report: FileReport
    content: bytes
    mark: str


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
        downloads: how many files are fetched before their turn, from an object store, where each
            takes a while. Their bytes are held beyond what `max_memory` counts but for one.
        uploads: how many results may be on their way to an object store at once; 0: each is
            written by the thread that made it.
        detailed: whether reports have `details`.
    """

    segmenter: Segmenter
    style: Style = field(default_factory=Style)
    encoding: Encoding = field(default_factory=Encoding)
    all_frames: bool = False
    skip_existing: bool = False
    batch: int = 1
    max_pixels: int | None = None
    workers: int | None = None
    downloads: int = 0
    uploads: int = 0
    detailed: bool = False

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
        turns: Iterator[_Turn] = map(self._open, jobs)
        if self.downloads:
            turns = ahead(self._open, jobs, self.downloads)
        made: Iterator[FileReport | _Made] = overlap(
            turns,
            self._read,
            self._run,
            self._write,
            failed=_failed,
            weigh=lambda turn: turn.bytes,
            capacity=budget(self.segmenter.memory_left),
            batch=self.batch,
            workers=self.workers,
            stopped=stopped,
        )
        if not self.uploads:
            return cast(Iterator[FileReport], made)
        return ahead(
            _uploaded,
            made,
            self.uploads,
            weigh=lambda each: len(each.content) if isinstance(each, _Made) else 0,
            capacity=MOST_UPLOAD_BYTES,
        )

    def _open(self, job: Job) -> _Turn:
        """Look for the result, then at the picture's header."""
        turn = _Turn(job)
        if self.detailed:
            turn.details["started"] = time.time()
        try:
            keeps = self.skip_existing or not job.overwrite
            if (keeps or not job.explicit) and self._is_done(job, keeps=keeps):
                return turn
            source = file_at(job.source).read()
            turn.task = Task(source, job.name, self.style, self.encoding)
            turn.weight = weigh(turn.task, max_pixels=self.max_pixels, all_frames=self.all_frames)
            held = len(source) if isinstance(source, bytes) else 0
            turn.bytes = turn.weight.bytes + held
            if self.detailed:
                _describe_source(turn.details, job, source)
            if self.segmenter.memory_left is not None:
                self.segmenter.check_fits(job.name, turn.weight.size, turn.bytes)
        except BirefnetError as error:
            turn.error = bare(error)
        return turn

    def _is_done(self, job: Job, *, keeps: bool) -> bool:
        """Whether the result is there and stays.

        Raises:
            OutputError: the result of another input is there.
        """
        try:
            found = file_at(job.target).found()
        except CredentialsError:
            raise
        except ImageError:  # as where a store lets a user write but not read
            if keeps:
                raise
            return False
        if found is None:
            return False
        name = job.key or absolute(job.source)
        if may_be_of(found.origin, name) or may_be_of(
            found.origin, name, file_at(job.source).read()
        ):
            return keeps
        if job.explicit:
            return False
        raise OutputError(
            f"{job.name}: its result would be {shown(job.target)}, which was made of another file; "
            "not overwritten: --relative-to FOLDER lets names keep their folders"
        )

    def _read(self, turn: _Turn) -> _Turn | Finished[FileReport | _Made]:
        if turn.error is not None:
            raise turn.error
        if turn.task is None or turn.weight is None:
            return Finished(FileReport(turn.job, skipped=True, details=turn.details))
        if turn.weight.animated:
            return Finished(self._cut_out_frames(turn, turn.task.source))
        started = time.perf_counter()
        turn.ready = read(turn.task, self.segmenter, max_pixels=self.max_pixels)
        turn.seconds["read"] = time.perf_counter() - started
        return turn

    def _run(self, turns: Sequence[_Turn]) -> list[Prediction]:
        started = time.perf_counter()
        predictions = self.segmenter.run([turn.ready.prepared for turn in turns if turn.ready])
        run_s = (time.perf_counter() - started) / len(turns)
        for turn in turns:
            turn.seconds["run"] = run_s
        return predictions

    def _write(self, turn: _Turn, prediction: Prediction) -> FileReport | _Made:
        """Compose the result; write it where it lies on this machine."""
        assert turn.task is not None
        assert turn.ready is not None
        job, size, started = turn.job, turn.ready.full_size, time.perf_counter()
        result = finish(turn.task, turn.ready, prediction, self.segmenter)
        turn.seconds["compose"] = time.perf_counter() - started
        report = FileReport(
            job,
            image_size=size,
            model_size=self.segmenter.model_size(size),
            subject=result.subject,
            seconds=turn.seconds,
            details=turn.details,
        )
        mark = origin_mark(job.key or absolute(job.source), turn.task.source)
        started, file = time.perf_counter(), file_at(job.target)
        if not isinstance(file, LocalFile):
            made = _Made(report, _encoded(result, job, self.encoding), mark)
            return made if self.uploads else _uploaded(made)
        result.save(file.path, self.encoding)
        file.mark(mark)
        turn.seconds["write"] = time.perf_counter() - started
        if self.detailed:
            turn.details |= {"result_bytes": file.path.stat().st_size, "finished": time.time()}
        return report

    def _cut_out_frames(self, turn: _Turn, source: Path | bytes) -> FileReport:
        done = cut_out_frames(source, turn.job, self.segmenter, self.style, self.encoding)
        return FileReport(
            turn.job,
            image_size=done.image_size,
            model_size=self.segmenter.model_size(done.image_size),
            subject=done.subject,
            frames=done.frames,
            seconds={"animation": done.seconds},
            details=turn.details,
        )


def _uploaded(made: FileReport | _Made) -> FileReport:
    """Write a result to its object store, if that is to be done; its file's report."""
    if isinstance(made, FileReport):
        return made
    report, started = made.report, time.perf_counter()
    try:
        file_at(report.job.target).write(made.content, made.mark)
    except BirefnetError as error:
        return FileReport(report.job, error, details=report.details)
    report.seconds["write"] = time.perf_counter() - started
    if report.details:
        report.details.update(result_bytes=len(made.content), finished=time.time())
    return report


def _describe_source(details: dict[str, Any], job: Job, source: Path | bytes) -> None:
    """Note how large a file is and, of an object, its ETag."""
    if isinstance(source, bytes):
        details["source_bytes"] = len(source)
    else:
        with suppress(OSError):
            details["source_bytes"] = source.stat().st_size
    if isinstance(job.source, RemotePath):
        with suppress(ImageError):
            found = file_at(job.source).found()
            details["etag"] = found.version if found else None


def _encoded(result: Result, job: Job, encoding: Encoding) -> bytes:
    try:
        return result.encode(encoding)
    except OutputError as error:  # knows no name
        reason = str(error).partition(": ")[2]
        raise OutputError(f"{shown(job.target)}: {reason}") from error


def _failed(turn: _Turn, error: Exception) -> FileReport:
    """Report of a file that failed, whatever its stage raised."""
    name = turn.job.name
    if isinstance(error, MemoryError):
        error = ImageError(f"{name}: not enough memory for it")
    elif isinstance(error, ModelError):  # a run knows tensors, and no files
        error = ModelError(f"{name}: {error}")
    elif not isinstance(error, BirefnetError):
        error = ImageError(f"{name}: can't be cut out: {error}")
    return FileReport(turn.job, error, details=turn.details)


@dataclass(frozen=True, slots=True)
class CutterSettings:
    """How pictures are cut out, as data: what one process tells another. Can be pickled.

    Attributes:
        model, opening: as `Segmenter` takes them.
        style, encoding, all_frames, skip_existing, batch, max_pixels: as `FileCutter` has them.
        remote: whether files lie in an object store.
        detailed: whether reports have `details`.
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
    detailed: bool = False

    def roomy(self, jobs: Sequence[Job], *, complete: bool) -> "CutterSettings":
        """The same, opened so that pictures fit beside the model, whose memory is bounded.

        Args:
            jobs: headers of the first `LOOKED_AT` are read where they lie on this machine.
            complete: whether these are all.
        """
        needs = [need for job in jobs[:LOOKED_AT] if (need := self._need(job)) is not None]
        most = max(needs, default=PICTURE_BYTES)
        if not complete or len(needs) < len(jobs):
            most = max(most, PICTURE_BYTES)
        return replace(self, opening={**self.opening, "picture_bytes": most})

    def _need(self, job: Job) -> float | None:
        """Bytes that a job's picture takes; None if that isn't known yet."""
        if not (isinstance(job.source, Path) and job.source.is_file()):  # a pipe is read once
            return None
        task = Task(job.source, job.name, self.style, self.encoding)
        try:
            weight = weigh(task, max_pixels=self.max_pixels, all_frames=self.all_frames)
        except BirefnetError:  # its turn will say so
            return None
        return weight.bytes + SLACK_BYTES

    def open(self, segmenter: Segmenter | None = None) -> FileCutter:
        """Open the model, unless one that is open is given.

        Raises:
            BirefnetError: as `Segmenter`.
        """
        segmenter = segmenter or Segmenter(self.model, **self.opening)
        # Where memory is bounded, no more is held than each picture's own count has.
        bounded = segmenter.memory_left is not None
        downloads, uploads = (1, 0) if bounded else (DOWNLOADS, UPLOADS)
        return FileCutter(
            segmenter,
            self.style,
            self.encoding,
            self.all_frames,
            self.skip_existing,
            self.batch,
            self.max_pixels,
            workers=self.opening.get("threads"),
            downloads=downloads if self.remote else 0,
            uploads=uploads if self.remote else 0,
            detailed=self.detailed,
        )
