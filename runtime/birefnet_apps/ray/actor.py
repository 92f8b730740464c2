"""What an actor does: open a model once, then cut out the files that it is told."""

import os
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import cv2
import pyarrow as pa
from birefnet_models.errors import BirefnetError
from birefnet_models.text import first_line
from birefnet_runtime.errors import ImageError, MemoryWarning, ProviderWarning, SizeWarning
from birefnet_runtime.segmenter import Opening

from ..batch.file_cutter import FileCutter, FileReport
from ..batch.jobs import Job
from ..batch.recipe import Recipe
from .delivery import Delivery
from .records import jobs_of, record_table


def assigned_cpus() -> int:
    """CPUs that Ray gave this actor, which no control group says; at least one."""
    import ray

    if not ray.is_initialized():
        return 1
    context: Any = ray.get_runtime_context()
    return max(1, int(context.get_assigned_resources().get("CPU", 1)))


def with_threads(opening: Opening, count: int) -> Opening:
    """The same, with so many threads where none were asked for."""
    return {**opening, "threads": opening.get("threads") or count}


class Notes:
    """Warnings of the library, collected for who started the actor."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        warnings.simplefilter("always", MemoryWarning)
        warnings.simplefilter("always", ProviderWarning)
        self._show = warnings.showwarning
        warnings.showwarning = self._add

    def _add(self, message: Any, category: type[Warning], *rest: Any, **named: Any) -> None:
        if issubclass(category, MemoryWarning | ProviderWarning | SizeWarning):
            self._texts.append(str(message))
        else:
            self._show(message, category, *rest, **named)

    def taken(self) -> list[str]:
        """Those since this was called last."""
        texts, self._texts = self._texts, []
        return texts


class CutFiles:
    """Tables of jobs to tables of records, whatever happens to a file.

    Args:
        recipe: how files are cut out.
        delivery: the model.
        folder: where relative paths begin, if there is such a folder on this machine.
    """

    def __init__(self, recipe: Recipe, delivery: Delivery, folder: str) -> None:
        self._notes = Notes()
        self._cutter: FileCutter | None = None
        self._error = ""
        with suppress(OSError):
            os.chdir(folder)
        opening = with_threads(recipe.opening, assigned_cpus())
        cv2.setNumThreads(opening["threads"] or 1)
        try:
            # An error here would be Ray's, with its log, and tried again.
            self._cutter = replace(recipe, model=delivery.receive(), opening=opening).open()
        except BirefnetError as error:
            self._error = str(error)

    def __call__(self, table: pa.Table) -> pa.Table:
        jobs = jobs_of(table)
        records = [_failure(job, error) for job, error in jobs if error is not None]
        todo = [job for job, error in jobs if error is None]
        if self._cutter is None:
            records += [{**_failure(job, self._error), "fatal": True} for job in todo]
        else:
            records += [report.as_record() for report in reports_of(self._cutter, todo)]
        if records:
            records[0] = {**records[0], "notes": self._notes.taken()}
        return record_table(records)


def reports_of(cutter: FileCutter, jobs: list[Job]) -> Iterator[FileReport]:
    """A report of each job, in order, even where the library itself breaks, which would end all."""
    done = 0
    try:
        for report in cutter.cut_out(jobs):
            done += 1
            yield report
    except Exception as error:  # noqa: BLE001  see above
        reason = f"can't be cut out: {type(error).__name__}: {first_line(error)}"
        for job in jobs[done:]:
            yield FileReport(job, ImageError(f"{job.name}: {reason}"))


def _failure(job: Job, error: str) -> dict[str, Any]:
    return {"input": str(job.source), "output": None, "error": error}
