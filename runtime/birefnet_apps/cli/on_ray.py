"""`birefnet cutout --on ray`."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO

from birefnet_runtime.errors import ClusterError

from ..files.cutter import CutterSettings
from ..files.jobs import CutoutPlan
from ..storage import Location, RemotePath, file_at
from ..storage.models import is_in_a_store
from .terminal import STOPPED, Summary, located, progress_bar, say


@dataclass(frozen=True, slots=True)
class RayOptions:
    """What a run on a Ray cluster is told beside the plan.

    Attributes:
        address: of a running cluster's head; None starts Ray on this machine.
        actors: how many; None: as many as there is room for.
        cpus, gpus: of each actor; None: as `Pool` chooses.
    """

    address: str | None = None
    actors: int | None = None
    cpus: float | None = None
    gpus: float | None = None


def run_on_ray(
    plan: CutoutPlan,
    settings: CutterSettings,
    summary: Summary,
    output: Location,
    options: RayOptions,
    *,
    max_failures: int | None = None,
) -> None:
    """Do the jobs on a Ray cluster, and say what was done.

    Ctrl-C drops what is in hand, which is harmless: a result is there whole or not at all.

    Raises:
        ClusterError: the cluster can't do them.
        MissingExtraError: ray is not installed.
        click.exceptions.Exit: not everything went well.
    """
    from ..ray.cluster import Pool, connected, quiet  # half a second, and an extra
    from ..ray.dataset import records_of
    from ..ray.tables import details_of, plain_record

    if plan.count == 0:
        summary.close(None)
        return
    # A disk that all machines share needn't be here.
    if plan.count != 1 and isinstance(output, RemotePath):
        file_at(output).check_writable()
    if not (isinstance(settings.model, str) and is_in_a_store(settings.model)):
        settings = replace(settings, model=located(settings.model).path)  # fetched with a bar
    count, code, refused = None, 1, ""
    try:
        with connected(options.address):
            quiet()
            pool = Pool(options.actors, options.cpus, options.gpus)
            records = records_of(plan, settings, pool, failures=False)
            count = records.count
            notes: set[str] = set()
            with progress_bar(count) as bar:
                task = bar.add_task("cutting out", total=count)
                for row in records:
                    for note in set(row["notes"] or ()) - notes:
                        notes.add(note)
                        say(note)
                    summary.add(plain_record(row), details_of(row))
                    bar.advance(task)
                    if max_failures is not None and summary.failed >= max_failures:
                        break
    except KeyboardInterrupt as error:
        code = STOPPED + int(getattr(error, "number", signal.SIGINT))
    except ClusterError as error:
        if count is None:
            raise
        refused = str(error)
    if refused:
        say(refused)
    if count is None:
        summary.close("before the first file", code)
    left = f"after {summary.reports} of {count}" if summary.reports < (count or 0) else None
    summary.close(left, code)


@contextmanager
def own_standard_output() -> Iterator[IO[str]]:
    """Yield standard output; what other packages print inside the block goes to stderr.

    Ray prints from Python and from processes that it starts, which have this one's descriptors.
    """
    ours = sys.stdout
    ours.flush()
    try:
        descriptor = ours.fileno()
        kept = os.dup(descriptor)
    except (OSError, ValueError, AttributeError):  # not a file, as in tests
        sys.stdout = sys.stderr
        try:
            yield ours
        finally:
            sys.stdout = ours
        return
    os.dup2(2, descriptor)
    sys.stdout = sys.stderr
    try:
        with open(kept, "w", encoding=ours.encoding, buffering=1, closefd=True) as stream:
            yield stream
            stream.flush()
            os.dup2(stream.fileno(), descriptor)
    finally:
        sys.stdout = ours
