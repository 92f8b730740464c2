"""`birefnet video`."""

from pathlib import Path

import click

from ..batch.footage import probe
from ..batch.video import cut_out_video
from ..cutout.clean import Clean
from ..cutout.compose import Style
from ..cutout.foreground import Estimator
from ..model.input_size import Size
from ..segmenter import Segmenter
from .fetching import located
from .options import (
    batch_option,
    clean_option,
    foreground_option,
    provider_option,
    size_option,
    threads_option,
    verbose_option,
)
from .progress import interruptible, progress_bar, say


@click.command(epilog="Example: birefnet video clip.mp4 --output clip.webm")
@click.argument("source", metavar="INPUT", type=click.Path(readable=False, path_type=Path))
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    required=True,
    type=click.Path(readable=False, path_type=Path),
    help="A .mov file for ProRes 4444, a .webm file for VP9, both with alpha.",
)
@click.option("--model", "-m", metavar="MODEL", default="nano", help="As `birefnet cutout` has it.")
@size_option
@threads_option
@provider_option
@verbose_option
@batch_option
@clean_option
@foreground_option
def video(
    source: Path,
    output: Path,
    model: str,
    size: Size,
    threads: int | None,
    provider: str,
    verbose: bool,
    batch: int,
    clean: Clean | None,
    foreground: Estimator,
) -> None:
    """Cut the subject out of a video, with ffmpeg, into a video with alpha.

    Sound is kept. Every frame is cut out by itself. The file appears whole or not at all.
    """
    footage = probe(source)
    segmenter = Segmenter(
        located(model), size=size, threads=threads, providers=provider, verbose=verbose
    )
    with interruptible() as stopped, progress_bar(footage.frames) as bar:
        task = bar.add_task("cutting out", total=footage.frames)
        frames = cut_out_video(
            source,
            output,
            segmenter,
            style=Style(depth=8, foreground=foreground, clean=clean),
            batch=batch,
            progress=lambda done: bar.update(task, completed=done),
            stopped=stopped,
        )
    say(f"{frames} frames: {output}")
