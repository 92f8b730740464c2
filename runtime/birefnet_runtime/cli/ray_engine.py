"""`birefnet cutout --engine ray`."""

from contextlib import suppress

from ..batch.jobs import CutoutPlan
from ..batch.recipe import Recipe
from .progress import progress_bar, say
from .summary import Summary


def run_on_ray(
    plan: CutoutPlan,
    recipe: Recipe,
    summary: Summary,
    *,
    address: str | None,
    actors: int | None,
    cpus: float | None,
    gpus: float | None,
) -> str | None:
    """Do the jobs on a Ray cluster; where it was stopped, if it was.

    Ctrl-C drops what is in hand, which is harmless: a result is there whole or not at all.

    Raises:
        ClusterError: the cluster can't do them.
        MissingExtraError: ray is not installed.
    """
    from ..ray.cluster import Pool, connected, quiet  # half a second, and an extra
    from ..ray.files import records_of
    from ..ray.records import plain_record

    if plan.count == 0:
        return None
    count = None
    with suppress(KeyboardInterrupt), connected(address):
        quiet()
        records = records_of(plan, recipe, Pool(actors, cpus, gpus), failures=False)
        count = records.count
        notes: set[str] = set()
        with progress_bar(count) as bar:
            task = bar.add_task("cutting out", total=count)
            for row in records:
                for note in set(row["notes"] or ()) - notes:
                    notes.add(note)
                    say(note)
                summary.add(plain_record(row))
                bar.advance(task)
    if count is None:
        return "before the first file"
    return f"after {summary.reports} of {count}" if summary.reports < count else None
