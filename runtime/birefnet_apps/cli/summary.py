"""The lines of a run of many files: one for each failure, and the last, which counts."""

import json
import time
from collections.abc import Mapping
from typing import Any

import click
from birefnet_models.text import format_seconds

from ..batch.jobs import CutoutPlan
from ..storage import Location
from .progress import STOPPED, say


class Summary:
    """What is said of a run while it goes on and at its end.

    Args:
        plan: what is to be done.
        output: as it was typed.
        noun: what comes out, `cutout` or `mask`.
        as_json: print a JSON line for each file, too.
    """

    def __init__(self, plan: CutoutPlan, output: Location, noun: str, as_json: bool) -> None:
        self._plan = plan
        self._output = output
        self._noun = noun
        self._as_json = as_json
        self._started = time.perf_counter()
        self._done = self._skipped = self._failed = 0
        self._told = 0
        self._only_target = ""
        self._tell_failures()

    @property
    def reports(self) -> int:
        """How many files have had their record."""
        return self._done + self._skipped + self._failed - self._told

    def add(self, record: Mapping[str, Any]) -> None:
        """Count the next file, and say what is worth a line."""
        if record.get("error") is not None:
            self._failed += 1
            say(record["error"])
        elif record.get("skipped"):
            self._skipped += 1
        else:
            self._done += 1
            if record.get("found") is False:
                say(f"{record['input']}: no subject found")
        if self._plan.count == 1:
            self._only_target = str(record["output"])
        if self._as_json:
            click.echo(json.dumps(record))

    def close(self, left: str | None) -> None:
        """Say what was done, and end the program accordingly.

        Args:
            left: of a run that was stopped, where; None if all was done.

        Raises:
            click.exceptions.Exit: not everything went well.
        """
        self._tell_failures()
        took = format_seconds(time.perf_counter() - self._started)
        line = f"{self._done} {self._noun}{'' if self._done == 1 else 's'} in {took}"
        if self._skipped:
            line += f", {self._skipped} there already"
        if self._failed:
            line += f", {self._failed} failed"
        say(f"{line}: {self._only_target or self._output}" if self._done else line)
        if left is not None:
            say(f"stopped {left}; the same command with --skip-existing goes on there")
            raise click.exceptions.Exit(STOPPED)
        if self._failed:
            raise click.exceptions.Exit(1)

    def _tell_failures(self) -> None:
        """Say which inputs can't be done, as far as that is known."""
        for failure in self._plan.failures[self._told :]:
            self._told += 1
            self._failed += 1
            say(failure.error)
            if self._as_json:
                record = {"input": str(failure.source), "output": None, "error": str(failure.error)}
                click.echo(json.dumps(record))
