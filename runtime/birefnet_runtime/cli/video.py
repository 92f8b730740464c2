"""`birefnet video`."""

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..batch.video import cut_out_video, probe
from ..cutout.compose import Style
from ..cutout.foreground import ESTIMATORS, Estimator
from ..model.input_size import Size
from ..segmenter import Segmenter
from .options import provider_option, read_size, verbose_option
from .progress import Interrupts, Rate


@click.command(epilog="Example: birefnet video clip.mp4 --output clip.webm")
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
    help="A .mov file for ProRes 4444, a .webm file for VP9, both with alpha.",
)
@click.option("--model", "-m", metavar="MODEL", default="nano", help="As `birefnet cutout` has it.")
@click.option("--size", metavar="SIZE", callback=read_size, help="As `birefnet cutout` has it.")
@click.option("--threads", metavar="N", type=click.IntRange(min=1), help="By default all cores.")
@provider_option
@verbose_option
@click.option("--batch", metavar="N", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--foreground",
    metavar="HOW",
    type=click.Choice(ESTIMATORS),
    default="blur",
    show_default=True,
    help="blur, pymatting or none.",
)
def video(
    source: Path,
    output: Path,
    model: str,
    size: Size,
    threads: int | None,
    provider: str,
    verbose: bool,
    batch: int,
    foreground: Estimator,
) -> None:
    """Cut the subject out of a video, with ffmpeg, into a video with alpha.

    Sound is kept. Every frame is seen for itself. The file appears whole or not at all.
    """
    footage = probe(source)
    segmenter = Segmenter(model, size=size, threads=threads, providers=provider, verbose=verbose)
    console = Console(stderr=True)

    def say(what: str) -> None:
        console.print(f"birefnet: {what}", markup=False, highlight=False, soft_wrap=True)

    columns = (BarColumn(), MofNCompleteColumn(), Rate(""), TimeRemainingColumn())
    with (
        Interrupts(say) as interrupts,
        Progress(TextColumn("cutting out"), *columns, console=console) as bar,
    ):
        task = bar.add_task("cutting out", total=footage.frames)
        frames = cut_out_video(
            source,
            output,
            segmenter,
            style=Style(depth=8, foreground=foreground),
            batch=batch,
            progress=lambda done: bar.update(task, completed=done),
            stopped=interrupts.came,
        )
    say(f"{frames} frames: {output}")
