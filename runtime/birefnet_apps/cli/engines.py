"""Where `birefnet cutout` works: in this process, or on a Ray cluster."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

from ..batch.jobs import CutoutPlan, Job
from ..batch.recipe import Recipe
from .fetching import located
from .progress import interruptible, progress_bar, say
from .summary import Summary


def run_here(
    plan: CutoutPlan, recipe: Recipe, summary: Summary, note: str | None = None
) -> str | None:
    """Do the jobs in this process; where it was stopped, if it was. `note` is for an open model."""
    if plan.count == 0:
        return None
    cutter = replace(recipe, model=located(recipe.model)).open()
    if note:
        say(note)
    info = cutter.segmenter.session_info
    if info and info.provider.name != "cpu":
        say(info.describe())
    feed = _Feed(plan.jobs)
    with interruptible() as stopped, progress_bar(plan.count) as bar:
        task = bar.add_task("cutting out", total=plan.count)
        for report in cutter.cut_out(feed, stopped=stopped):
            feed.reported()
            summary.add(report.as_record())
            bar.advance(task)
        left = feed.left() if stopped() else None
    return f"before {left.source}" if left else None


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


class _Feed:
    """Jobs as they are drawn, and which of them had no report yet."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = iter(jobs)
        self._drawn: deque[Job] = deque()

    def __iter__(self) -> Iterator[Job]:
        for job in self._jobs:
            self._drawn.append(job)
            yield job

    def reported(self) -> None:
        """Take note that the oldest drawn job has its report."""
        self._drawn.popleft()

    def left(self) -> Job | None:
        """The first job without a report; None if all have one."""
        return self._drawn[0] if self._drawn else next(self._jobs, None)
