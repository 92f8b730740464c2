"""Files and folders to cutouts from Python, as `birefnet cutout` does it: a report of each file."""

import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias, Unpack

from birefnet_runtime.cutout.compose import Style
from birefnet_runtime.errors import ImageError, Interrupted
from birefnet_runtime.images.write import Encoding
from birefnet_runtime.segmenter import Opening, Segmenter

from ..storage import InMemory, Location, parse_location
from ..storage.models import find_any_model
from .cutter import CutterSettings, FileCutter, check_style
from .jobs import CutoutPlan, Failure, FileReport, Job
from .plan import made_ready, plan_cutouts

Place: TypeAlias = str | os.PathLike[str]


class CutoutRun(Iterator[FileReport]):
    """Files being cut out: iterate over it for a report of each file, in order.

    Reading, the network and writing overlap while it is iterated over, and memory stays bounded.
    What fails has its error in its report, and the others go on. As a context manager it gives
    the model's memory back when the block ends, unless the model was handed in open.

    Made by `cutout_files`. One thread iterates; `stop` and `interrupt` may be called from any.

    Attributes:
        count: how many reports there will be; None where an object store is listed meanwhile.
    """

    count: int | None

    def __init__(
        self, plan: CutoutPlan, cutter: FileCutter, jobs: Iterator[Job], *, closes: bool
    ) -> None:
        self.count = None if plan.count is None else plan.count + len(plan.failures)
        self._cutter = cutter
        self._closes = closes
        self._stopped = self._interrupted = False
        self._reports = self._all(plan, jobs)

    def __next__(self) -> FileReport:
        """The next file's report.

        Raises:
            Interrupted: `interrupt` was called.
        """
        return next(self._reports)

    def stop(self) -> None:
        """Begin no other file: those in hand are finished and reported, then the run ends."""
        self._stopped = True

    def interrupt(self) -> None:
        """End the run that is under way, too: the iteration raises Interrupted.

        No result is half written. Files that were not reported can be done again, with
        `skip_existing`. A Segmenter that was handed in has its other runs interrupted, too.
        """
        self._stopped = self._interrupted = True
        self._cutter.segmenter.interrupt()

    def close(self) -> None:
        """End the run, and free the model where it was opened for the run."""
        self._reports.close()
        if self._closes:
            self._cutter.segmenter.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _all(self, plan: CutoutPlan, jobs: Iterator[Job]) -> Generator[FileReport, None, None]:
        known = len(plan.failures)
        yield from map(_refused, plan.failures[:known])
        yield from self._cutter.cut_out(jobs, stopped=lambda: self._stopped)
        if self._interrupted:
            raise Interrupted
        yield from map(_refused, plan.failures[known:])  # found while a store was listed


def cutout_files(
    inputs: Place | Sequence[Place],
    output: Place,
    *,
    model: Place | Segmenter = "nano",
    style: Style | None = None,
    encoding: Encoding | None = None,
    relative_to: Place | None = None,
    all_frames: bool = False,
    skip_existing: bool = False,
    batch: int = 1,
    max_pixels: int | None = None,
    **opening: Unpack[Opening],
) -> CutoutRun:
    """Cut out files and whole folders as `birefnet cutout` does: names, trees, what is left alone.

        for report in cutout_files("holiday", "cutouts", model="lite", style=Style(crop=0.05)):
            print(report.source, report.error or report.target)

    Args:
        inputs: paths or URLs of files and folders; folders are searched through.
        output: a file for one input file (its suffix is the format), else a folder; made if it
            is missing. A path or a URL.
        model: as `Segmenter` takes it, or the URL of one in an object store; or a Segmenter, which
            stays open.
        style: what comes out; a transparent cutout by default.
        encoding: how it is written; by default what the output's suffix says, PNG in a folder.
        relative_to: a folder or URL that all inputs are below: results are named by their paths
            from there, whatever else is listed.
        all_frames: animations come out as animations.
        skip_existing: leave files alone whose result is there.
        batch: how many images may go through the network at once.
        max_pixels: a larger image is not read; by default 179 million.
        opening: how the model is opened, as `Segmenter` takes it: `size`, `providers`, ...

    Returns:
        An iterator of reports, which can be stopped.

    Raises:
        OutputError: `output` doesn't suit the inputs or the style, or can't be written to.
        ImageError: nothing is given to cut out, or an object store doesn't answer.
        MissingExtraError: fsspec or a store's driver is not installed.
        BirefnetError: as `Segmenter`, where the model can't be opened.
        TypeError: how to open a model that is open already, or a batch with `max_memory`.
    """
    if isinstance(model, Segmenter) and opening:
        raise TypeError(f"{', '.join(opening)}: of no use with a Segmenter, which is open already")
    if batch > 1 and opening.get("max_memory") is not None:
        raise TypeError("max_memory is kept for one image at a time; leave batch out")
    listed = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    if not listed:
        raise ImageError("nothing to cut out: give files or folders")
    place = _place(output)
    plan = plan_cutouts(
        [_place(each) for each in listed],
        place,
        encoding.format if encoding else None,
        relative_to=None if relative_to is None else _place(relative_to),
    )
    settings = CutterSettings(
        "" if isinstance(model, Segmenter) else model,
        opening,
        style=style or Style(),
        encoding=encoding or Encoding(plan.format),
        all_frames=all_frames,
        skip_existing=skip_existing,
        batch=batch,
        max_pixels=max_pixels,
        remote=plan.remote,
    )
    check_style(settings.style, settings.encoding)
    settings, jobs = made_ready(plan, settings, place)
    if isinstance(model, Segmenter):
        return CutoutRun(plan, settings.open(model), jobs, closes=False)
    cutter = replace(settings, model=find_any_model(model)).open()
    return CutoutRun(plan, cutter, jobs, closes=True)


def _place(place: Place) -> Location:
    return place if isinstance(place, Path) else parse_location(os.fspath(place))


def _refused(failure: Failure) -> FileReport:
    """Report of an input that has no result to go anywhere."""
    return FileReport(Job(failure.source, InMemory("nowhere")), failure.error)
