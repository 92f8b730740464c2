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

from ..files.cutter import FileCutter, FileReport, Recipe
from ..files.jobs import Job
from ..storage.models import is_in_a_store, keep
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
