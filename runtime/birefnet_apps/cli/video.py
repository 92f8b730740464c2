"""`birefnet video`."""

import sys
from contextlib import ExitStack
from pathlib import Path

import click
from birefnet_runtime.cutout.compose import Style
from birefnet_runtime.cutout.foreground import Estimator
from birefnet_runtime.cutout.mask import Clean
from birefnet_runtime.errors import OutputError
from birefnet_runtime.segmenter import Opening, Segmenter

from ..storage import STANDARD_STREAM
from ..video.convert import check_target, cut_out_video
from ..video.ffmpeg import probe
from ..video.frames import STANDARD_INPUT, RawFormat, RawFrames, as_file, parse_raw, spooled
from .options import (
    batch_option,
    clean_option,
    foreground_option,
    opening_options,
    parsed,
)
from .terminal import interruptible, located, progress_bar, say


@click.command(epilog="Example: birefnet video clip.mp4 --output clip.webm")
@click.argument("source", metavar="INPUT", type=click.Path(readable=False, path_type=Path))
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    required=True,
    type=click.Path(readable=False, path_type=Path),
    help="A .mov file for ProRes 4444, a .webm file for VP9, both with alpha; - for bare frames of "
    "8-bit RGBA on standard output.",
)
@click.option(
    "--raw",
    metavar="WxH@FPS",
    callback=parsed(parse_raw),
    help="With - as INPUT: bare frames of 8-bit RGB (rgb24), width first, as 1280x720@25. Without "
    "it standard input is a video file's content.",
)
@click.option("--model", "-m", metavar="MODEL", default="nano", help="As `birefnet cutout` has it.")
@opening_options
@batch_option
@clean_option
@click.option(
    "--mask",
    is_flag=True,
    help="Write the mask alone, as gray: ProRes 422 HQ, VP9 without alpha, or a byte a pixel.",
)
@foreground_option
@click.option(
    "--smooth",
    is_flag=True,
    help="Smooth the mask in time where the picture stays the same; its edge flickers less.",
)
def video(
    source: Path,
    output: Path,
    raw: RawFormat | None,
    model: str,
    opening: Opening,
    batch: int,
    mask: bool,
    clean: Clean | None,
    foreground: Estimator,
    smooth: bool,
) -> None:
    """Cut the subject out of a video, with ffmpeg, into a video with alpha; - for standard input.

    Sound is kept. Every frame is cut out by itself; --smooth smooths the masks. The file appears
    whole or not at all.
    """
    if raw and source != STANDARD_STREAM:
        raise click.UsageError("--raw is of standard input; give - as INPUT")
    if output != STANDARD_STREAM:
        check_target(output)
    elif not sys.stdout.writable():
        raise OutputError("standard output is closed; nothing was done")
    with ExitStack() as stack:
        film, name, count = _opened(source, raw, stack)
        segmenter = Segmenter(located(model), **opening)
        stopped = stack.enter_context(interruptible())
        bar = stack.enter_context(progress_bar(count))
        task = bar.add_task("cutting out", total=count)
        frames = cut_out_video(
            film,
            sys.stdout.buffer if output == STANDARD_STREAM else output,
            segmenter,
            name=name,
            style=Style(mask=mask, depth=8, foreground=foreground, clean=clean),
            smooth=smooth,
            batch=batch,
            progress=lambda done: bar.update(task, completed=done),
            note=say,
            stopped=stopped,
        )
    say(f"{frames} frames" if output == STANDARD_STREAM else f"{frames} frames: {output}")


def _opened(
    source: Path, raw: RawFormat | None, stack: ExitStack
) -> tuple[Path | RawFrames, str, int | None]:
    """What to cut out, what messages call it, and how many frames it says it has."""
    if raw is not None:
        return RawFrames(sys.stdin.buffer, raw), STANDARD_INPUT, None
    name = str(source)
    if source == STANDARD_STREAM:
        source, name = stack.enter_context(spooled(sys.stdin.buffer)), STANDARD_INPUT
    else:
        source = stack.enter_context(as_file(source, name))
    return source, name, probe(source, name).frames
