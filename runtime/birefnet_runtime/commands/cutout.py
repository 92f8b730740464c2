"""`birefnet cutout`."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from birefnet_models.errors import BirefnetError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..errors import OutputError, SizeError
from ..image_io import read_image, write_png
from ..jobs import Job, Plan, plan
from ..memory import Memory
from ..postprocess import to_mask, to_rgba
from ..segmenter import Segmenter
from ..sizing import Size, parse_size
from ..units import format_seconds
from .options import max_memory_option, memory_option, provider_option, verbose_option

DEMONSTRATION = (
    "using nano, a demonstration model; for real work export BiRefNet_lite or larger "
    "(birefnet export --help) and give it with --model"
)


def _read_size(_: click.Context, __: click.Parameter, text: str | None) -> Size:
    try:
        return None if text is None else parse_size(text)
    except SizeError as error:
        raise click.BadParameter(str(error)) from error


@click.command(epilog="Example: birefnet cutout photo.jpg holiday/ --output cutouts")
@click.argument(
    "inputs", metavar="INPUT...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--output",
    "-o",
    metavar="PATH",
    required=True,
    type=click.Path(path_type=Path),
    help="A .png file for one input file, else a directory; made if missing.",
)
@click.option(
    "--model",
    "-m",
    metavar="MODEL",
    help="A name from `birefnet models`, an .onnx file, or a directory that holds one.",
)
@click.option(
    "--size",
    metavar="SIZE",
    callback=_read_size,
    help="The network's size: N, HxW (height first) or auto (the image's aspect ratio). "
    "By default the size that the model was trained at.",
)
@click.option(
    "--threads",
    metavar="N",
    type=click.IntRange(min=1),
    help="By default as many as there are usable cores.",
)
@provider_option
@memory_option
@max_memory_option
@verbose_option
@click.option("--mask", is_flag=True, help="Write the mask alone, as 8-bit grey.")
def cutout(
    inputs: tuple[Path, ...],
    output: Path,
    model: str | None,
    size: Size,
    threads: int | None,
    provider: str,
    memory: Memory,
    max_memory: float | None,
    verbose: bool,
    mask: bool,
) -> None:
    """Cut the subject out of images: transparent PNGs of files and whole folders.

    The EXIF orientation is applied. Folders are searched through, and their tree is kept. An input
    is never overwritten. A file that fails gets a line and the others are still done; the exit code
    is then 1.
    """
    started = time.perf_counter()
    planned = plan(inputs, output)
    failures = [*planned.failures]
    # One console for the bar and the lines, so that neither is written into the other.
    console = Console(stderr=True)
    for failure in failures:
        _say(console, failure)
    if planned.jobs:
        segmenter = Segmenter(
            model or "nano",
            size=size,
            threads=threads,
            providers=provider,
            memory=memory,
            max_memory=max_memory,
            verbose=verbose,
        )
        if model is None:
            _say(console, DEMONSTRATION)
        if segmenter.opening and segmenter.opening.provider.name != "cpu":
            _say(console, segmenter.opening.describe())
        for job in _track(planned.jobs, console):
            try:
                _do(job, segmenter, mask)
            except BirefnetError as error:
                failures.append(error)
                _say(console, error)
    _say(console, _summary(planned, len(failures), output, mask, time.perf_counter() - started))
    if failures:
        raise click.exceptions.Exit(1)


def _do(job: Job, segmenter: Segmenter, mask: bool) -> None:
    image = read_image(job.source)
    alpha = segmenter(image)
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{job.target.parent}: can't be made: {error.strerror}") from error
    write_png(job.target, to_mask(alpha) if mask else to_rgba(image, alpha))


def _summary(planned: Plan, failed: int, output: Path, mask: bool, took_s: float) -> str:
    done = len(planned.jobs) + len(planned.failures) - failed
    results = f"{done} {'mask' if mask else 'cutout'}{'' if done == 1 else 's'}"
    place = planned.jobs[0].target if len(planned.jobs) == 1 else output
    into = f": {place}" if done else ""
    failures = f", {failed} failed" if failed else ""
    return f"{results} in {format_seconds(took_s)}{failures}{into}"


def _say(console: Console, what: object) -> None:
    console.print(f"birefnet: {what}", markup=False, highlight=False, emoji=False, soft_wrap=True)


def _track(jobs: Sequence[Job], console: Console) -> Iterator[Job]:
    """The jobs one by one, under a progress bar if there are several."""
    if len(jobs) == 1:
        yield from jobs
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield from progress.track(jobs, description="cutting out")
