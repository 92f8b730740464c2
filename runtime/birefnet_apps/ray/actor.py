"""What an actor does: open a model once, then cut out the files that it is told."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
from birefnet_models.base.errors import BirefnetError
from birefnet_models.base.hashes import CHECKSUMS, sha256_of
from birefnet_models.base.text import first_line
from birefnet_models.zoo import all_cards, embedded_path
from birefnet_runtime.errors import ImageError, MemoryWarning, ProviderWarning, SizeWarning
from birefnet_runtime.model.locate import find_model
from birefnet_runtime.segmenter import Opening

from ..files.cutter import CutterSettings, FileCutter
from ..files.jobs import FileReport, Job
from ..storage import CredentialsError, plain, typed_location
from ..storage.models import is_in_a_store, keep
from .journal import JournalActor
from .tables import jobs_of, record_table

# A model of this machine, brought to those of the cluster that don't have it, once each.


@dataclass(frozen=True, slots=True)
class Delivery:
    """How an actor comes by its model.

    Attributes:
        model: a name that is known everywhere, a URL, or the path of an `.onnx` file.
        sizes: of the file and of those that belong beside it, in bytes.
        identity: the sha256 of them all; empty where nothing is delivered.
        contents: references of Ray's to their bytes.
    """

    model: str
    sizes: dict[str, int] = field(default_factory=dict)
    identity: str = ""
    contents: dict[str, Any] = field(default_factory=dict)

    def receive(self, get: Callable[[Any], bytes] | None = None) -> str:
        """What to open here: the file where it lies, else a copy in this machine's cache.

        Raises:
            ModelError: the copy can't be stored.
        """
        path = Path(self.model)
        if not self.contents or _has(path.parent, self.sizes):
            return self.model

        def fill(folder: Path) -> None:
            for name, content in self.contents.items():
                (folder / name).write_bytes((get or _get)(content))

        return str(keep(self.identity, path.name, fill))


def deliver(
    model: str | os.PathLike[str], machines: int, put: Callable[[bytes], Any] | None = None
) -> Delivery:
    """Prepare a model's way to the machines of a cluster.

    Args:
        model: as `Segmenter` takes it.
        machines: how many there are; to one alone nothing has to be brought.

    Raises:
        ModelError: there is no such model here.
    """
    if isinstance(model, str) and is_in_a_store(model):
        return Delivery(model)
    path = find_model(model).path.absolute()
    embedded = {embedded_path(card): card.name for card in all_cards() if card.embedded}
    if path in embedded:
        return Delivery(embedded[path])
    names = [path.name, f"{path.name}_data", CHECKSUMS]
    files = [file for name in names if (file := path.with_name(name)).is_file()]
    sizes = {file.name: file.stat().st_size for file in files}
    if machines < 2:
        return Delivery(str(path), sizes)
    contents = {file.name: (put or _put)(file.read_bytes()) for file in files}
    return Delivery(str(path), sizes, sha256_of(*files), contents)


def _has(folder: Path, sizes: dict[str, int]) -> bool:
    """Whether the files are there: on the same machine, or on a disk that all share."""
    try:
        return all(os.stat(folder / name).st_size == size for name, size in sizes.items())
    except OSError:
        return False


def _put(content: bytes) -> Any:
    import ray

    return ray.put(content)


def _get(reference: Any) -> bytes:
    import ray

    content: bytes = ray.get(reference)
    return content


def assigned_cpus() -> int:
    """CPUs that Ray gave this actor, which no control group says; at least one."""
    import ray

    if not ray.is_initialized():
        return 1
    context: Any = ray.get_runtime_context()
    return max(1, int(context.get_assigned_resources().get("CPU", 1)))


_OPENING = "opening the model"
MOST_OPENINGS = 8
"""Processes that may end one after another while they open the model before that is an error."""
MOST_DEATHS = 2
"""How often a file may end its process when it is the only one in hand; once before that it was
one of several."""


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

    Ray starts a lost actor again and hands it the same table, without end. So what is in hand is
    noted in a `Journal` elsewhere: the second time the files are done one by one, and one during
    which the process ended `MOST_DEATHS` times gets a record with an error instead of a turn.

    Args:
        settings: how files are cut out.
        delivery: the model.
        folder: where relative paths begin, if there is such a folder on this machine.
        journal: notes what is in hand; None: nothing is.
        complete: whether the first table is the only one there is.
    """

    def __init__(
        self,
        settings: CutterSettings,
        delivery: Delivery,
        folder: str,
        journal: JournalActor | None = None,
        *,
        complete: bool = False,
    ) -> None:
        self._notes = Notes()
        self._cutter: FileCutter | None = None
        self._error = ""
        self._delivery = delivery
        self._journal = journal
        self._complete = complete
        with suppress(OSError):
            os.chdir(folder)
        opening = with_threads(settings.opening, assigned_cpus())
        cv2.setNumThreads(opening["threads"] or 1)
        self._settings = replace(settings, opening=opening)

    def __call__(self, table: pa.Table) -> pa.Table:
        jobs = jobs_of(table)
        records = [_failure(job, error) for job, error in jobs if error is not None]
        todo = [job for job, error in jobs if error is None]
        if todo and self._cutter is None and not self._error:
            self._open(todo)
        if self._cutter is None:
            records += [{**_failure(job, self._error), "fatal": True} for job in todo]
        else:
            records += [_record_of(report) for report in self._reports(self._cutter, todo)]
        if records:
            records[0] = {**records[0], "notes": self._notes.taken()}
        return record_table(records)

    def _open(self, jobs: list[Job]) -> None:
        """Open the model, or note why it can't be: an error here would be Ray's, with its log, and
        tried again."""
        journal = self._journal
        if journal is not None and journal.begin(_OPENING) >= MOST_OPENINGS + journal.actors:
            self._error = "every process that opens the model ends; is there enough memory for it?"
            return
        try:
            settings = replace(self._settings, model=self._delivery.receive())
            if settings.opening.get("max_memory") is not None:
                settings = settings.roomy(jobs, complete=self._complete)
            self._cutter = settings.open()
        except BirefnetError as error:
            self._error = str(error)
        if journal is not None:
            journal.end(_OPENING)

    def _reports(self, cutter: FileCutter, jobs: list[Job]) -> Iterator[FileReport]:
        """A report of each job; one by one where an earlier actor was lost on them."""
        journal = self._journal
        if journal is None or not jobs:
            yield from reports_of(cutter, jobs)
            return
        table = f"{len(jobs)} files from {typed_location(jobs[0].source)}"
        if journal.begin(table) == 0:
            yield from reports_of(cutter, jobs)
        else:
            for job in jobs:
                name = typed_location(job.source)
                if (deaths := journal.begin(name)) >= MOST_DEATHS:
                    reason = f"the process that cut it out ended {deaths + 1} times; left out"
                    yield FileReport(job, ImageError(f"{job.name}: {reason}"))
                    continue
                yield from reports_of(cutter, [job])
                journal.end(name)
        journal.end(table)


def _record_of(report: FileReport) -> dict[str, Any]:
    record = {**report.as_record(), **report.details}
    return {**record, "fatal": True} if isinstance(report.error, CredentialsError) else record


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
    return {"input": plain(job.source), "output": None, "error": error}
