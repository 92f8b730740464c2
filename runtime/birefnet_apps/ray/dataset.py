"""Folders and lists of pictures, cut out on every machine of a Ray cluster."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any, Unpack

from birefnet_models.base.extras import naming_extras
from birefnet_models.base.text import first_line, printable
from birefnet_runtime.cutout.compose import Style
from birefnet_runtime.errors import ClusterError
from birefnet_runtime.images.write import Encoding, format_named
from birefnet_runtime.segmenter import Opening

from ..files.cutter import CutterSettings, check_style
from ..files.jobs import CutoutPlan
from ..files.plan import plan_cutouts
from ..storage import Location, parse_location
from .actor import CutFiles, deliver, with_threads
from .cluster import Pool, machines, plan_actors
from .journal import start_journal
from .tables import job_tables

if TYPE_CHECKING:
    from ray.data import Dataset

PICTURES_OF_TASK = 64
"""Pictures of a task: what is done again when an actor is lost, and how often there is news."""
_TASKS_PER_ACTOR = 8
"""At least, where there are pictures enough: the last tasks end at different times."""


@naming_extras()
def cutout_dataset(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    model: str = "nano",
    style: Style | None = None,
    format: str | None = None,
    quality: int = Encoding().quality,
    lossless: bool = False,
    effort: int | None = None,
    all_frames: bool = False,
    skip_existing: bool = False,
    batch: int = 1,
    max_pixels: int | None = None,
    actors: int | None = None,
    cpus_per_actor: float | None = None,
    gpus_per_actor: float | None = None,
    **opening: Unpack[Opening],
) -> "Dataset":
    """Cut out files and folders as `birefnet cutout --on ray` does.

    Paths travel to the actors, which read, cut out and write; pictures don't. Each result appears
    whole or not at all, so a task that is tried again does no harm. A file that fails is a row with
    its error. Where no Ray was started or joined, `ray.init(address="local")` is a good beginning.

    Args:
        inputs: paths or URLs of files and folders; relative paths as from here, on every machine.
        output: a file, a folder, or a URL.
        model, opening: as `Segmenter` takes them, for each actor.
        style, all_frames, skip_existing, batch, max_pixels: as `FileCutter` has them.
        format, quality, lossless, effort: as `birefnet cutout` has them.
        actors, cpus_per_actor, gpus_per_actor: as `Pool` has them. Threads follow from the CPUs.

    Returns:
        A Dataset, lazy, in no order: a row for each input, as `records.RECORDS` says.

    Raises:
        OutputError, ModelError: what was asked for can't be.
        ClusterError: there is no room for an actor.
        MissingExtraError: ray, fsspec or a store's driver is not installed.
    """
    listed = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    places: list[Location] = [parse_location(os.fspath(place)) for place in listed]
    form = format_named(format) if format else None
    plan = plan_cutouts(places, parse_location(os.fspath(output)), form)
    settings = CutterSettings(
        model,
        opening,
        style=style or Style(),
        encoding=Encoding(plan.format, quality, lossless, effort),
        all_frames=all_frames,
        skip_existing=skip_existing,
        batch=batch,
        max_pixels=max_pixels,
        remote=plan.remote,
    )
    check_style(settings.style, settings.encoding)
    pool = Pool(actors, cpus_per_actor, gpus_per_actor)
    return records_of(plan, settings, pool, failures=True).data


cutout_files = cutout_dataset
"""Its name in 0.3, which `birefnet_runtime.ray` hands on until 0.5."""


@dataclass(frozen=True, slots=True)
class Records:
    """A Dataset of records that begins when it is iterated over, and anew each time.

    Attributes:
        data: the Dataset.
        count: of its rows, which Ray would have to run it for.
    """

    data: "Dataset"
    count: int

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows as they come.

        Raises:
            ClusterError: Ray gave up, or a machine can't open the model.
        """
        from ray.exceptions import RayError

        try:
            for row in self.data.iter_rows():
                if row["fatal"]:
                    raise ClusterError(row["error"])
                yield row
        except RayError as error:
            raise ClusterError(f"Ray gave up: {_reason(error)}") from error


def _current_folder() -> str:
    """Where relative paths begin; empty where it was deleted."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _reason(error: BaseException) -> str:
    """What an error of Ray's says went wrong: its cause, else the last line of its trace."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):
        return f"{type(cause).__name__}: {first_line(cause)}"
    lines = [line for line in str(error).splitlines() if line.strip()]
    return printable(lines[-1].strip()) if lines else type(error).__name__


def records_of(
    plan: CutoutPlan, settings: CutterSettings, pool: Pool, *, failures: bool
) -> Records:
    """Records of a plan's jobs.

    Args:
        plan: its jobs are drawn here.
        settings: how they are done.
        pool: by whom.
        failures: whether the plan's own failures are rows, too.

    Raises:
        ClusterError, ModelError: as `cutout_dataset`.
    """
    import ray

    nodes = machines()
    planned = plan_actors(pool, nodes)
    rows = PICTURES_OF_TASK
    if plan.count is not None:
        rows = min(PICTURES_OF_TASK, max(1, ceil(plan.count / (planned.actors * _TASKS_PER_ACTOR))))
    tables = list(job_tables(plan.jobs, plan.failures if failures else (), rows))
    resources: dict[str, Any] = (
        {"num_gpus": planned.gpus} if planned.gpus else {"num_cpus": planned.cpus}
    )
    # Blocks that are here need no task that reads them, which would wait for CPUs of the actors.
    data = ray.data.from_blocks(tables).map_batches(
        CutFiles,
        batch_size=rows,  # which Ray wants to be told where actors have GPUs
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(
            size=min(planned.actors, max(1, len(tables))), max_tasks_in_flight_per_actor=2
        ),
        fn_constructor_kwargs={
            "settings": replace(settings, opening=with_threads(settings.opening, planned.threads)),
            "delivery": deliver(settings.model, len(nodes)),
            "folder": _current_folder(),
            "journal": start_journal(planned.actors),
            "complete": len(tables) == 1,
        },
        **resources,
    )
    return Records(data, sum(table.num_rows for table in tables))
