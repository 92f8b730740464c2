"""`birefnet bench`."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import click
from birefnet_models.errors import BirefnetError
from birefnet_runtime.cores import usable_cores

from .case import Case
from .environment import read_environment
from .measure import Measurement
from .report import (
    Results,
    caption,
    markdown_table,
    measurement,
    write_results,
)

IMAGE_SIZE = (1024, 1024)


class BenchmarkError(BirefnetError):
    """A case that could not be run."""


@click.command(epilog="Example: birefnet bench --model nano --output results.json")
@click.option(
    "--model",
    "models",
    metavar="MODEL",
    multiple=True,
    default=("nano",),
    show_default=True,
    help="As in `birefnet cutout`; can be given several times.",
)
@click.option(
    "--size",
    "sizes",
    metavar="N",
    multiple=True,
    type=click.IntRange(min=1),
    help="Run at N x N instead of the trained size; can be given several times.",
)
@click.option("--repeats", metavar="N", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--threads", metavar="N", type=click.IntRange(min=1))
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the raw figures as JSON.",
)
def bench(
    models: tuple[str, ...],
    sizes: tuple[int, ...],
    repeats: int,
    threads: int | None,
    output: Path | None,
) -> None:
    """Time the runtime on this machine: image in memory to alpha, each case in its own process."""
    cases = [
        Case(model, (size, size) if size else None, IMAGE_SIZE, threads or usable_cores(), repeats)
        for model in models
        for size in sizes or (None,)
    ]
    results = Results(read_environment(), tuple(_in_own_process(case) for case in cases))
    click.echo(markdown_table(results.measurements), nl=False)
    click.echo(caption(results))
    if output:
        write_results(output, results)
        click.echo(f"birefnet: raw figures in {output}", err=True)


def _in_own_process(case: Case) -> Measurement:
    command = [
        sys.executable,
        "-m",
        "birefnet_benchmarks.worker",
        json.dumps(dataclasses.asdict(case)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BenchmarkError(f"{case.model} can't be measured: {reason}")
    return measurement(json.loads(done.stdout))
