"""`birefnet cutout` in this process."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..batch.jobs import CutoutPlan, Job
from ..batch.recipe import Recipe
from .fetching import located
from .progress import interruptible, progress_bar, say
from .summary import Summary


def run_here(plan: CutoutPlan, recipe: Recipe, summary: Summary) -> str | None:
    """Do the jobs in this process; where it was stopped, if it was."""
    if plan.count == 0:
        return None
    cutter = replace(recipe, model=located(recipe.model)).open()
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
