"""`birefnet cutout`."""

import math
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from typing import IO, Literal, get_args

import click

from ..batch.file_cutter import check_style
from ..batch.jobs import CutoutPlan, Job
from ..batch.plan import plan_cutouts, read_list
from ..batch.recipe import Recipe
from ..cutout.background import parse_background
from ..cutout.compose import SHADOWS, Shadow, Style
from ..cutout.foreground import Estimator
from ..errors import ImageError, OutputError
from ..images.write import Encoding, FormatName, format_named
from ..model.input_size import Size
from ..session.memory_limit import Memory
from ..storage import STANDARD_STREAM, Location
from .locations import ListType, LocationType
from .options import (
    batch_option,
    foreground_option,
    max_memory_option,
    memory_option,
    parsed,
    provider_option,
    size_option,
    threads_option,
    verbose_option,
)
from .progress import interruptible, progress_bar, say
from .summary import Summary

DEMONSTRATION = (
    "using nano, a demonstration model; for real work export BiRefNet_lite or larger "
    "(birefnet export --help) and give it with --model"
)
DEPTHS: dict[str, Literal[8, 16]] = {"8": 8, "16": 16}


def _parse_pixels(text: str) -> int:
    number = text.lower().removesuffix("p").removesuffix("m")
    count = int(number) if number.isdecimal() and len(number) < 13 else 0
    if not count:
        raise ImageError(f"{text!r} is no number of pixels; give 200M or 200000000")
    return count if number == text else count * 1_000_000


@click.command(
    epilog="Example: birefnet cutout photo.jpg holiday/ --output cutouts --format webp --crop"
)
@click.argument("inputs", metavar="INPUT...", nargs=-1, type=LocationType())
@click.option(
    "--output",
    "-o",
    metavar="PATH",
    required=True,
    type=LocationType(),
    help="A file for one input file (its suffix is the format), - for standard output, else a "
    "directory; made if missing. A URL as well as a path, as every INPUT.",
)
@click.option(
    "--files-from",
    metavar="FILE",
    type=ListType("rb"),
    help="Inputs from a file or, with -, from standard input: one a line, or ended by NUL.",
)
@click.option(
    "--model",
    "-m",
    metavar="MODEL",
    help="A name from `birefnet models`, an .onnx file, or a directory that holds one.",
)
@size_option
@threads_option
@provider_option
@memory_option
@max_memory_option
@click.option(
    "--max-pixels",
    metavar="N",
    callback=parsed(_parse_pixels),
    help="Read images of up to N pixels, as 200M for 200 megapixels; by default 178M.",
)
@verbose_option
@batch_option
@click.option(
    "--format",
    "form",
    metavar="FORMAT",
    type=click.Choice(get_args(FormatName)),
    help="png, webp, tiff or jpeg. By default the output's suffix, else png.",
)
@click.option(
    "--quality",
    metavar="1-100",
    type=click.IntRange(1, 100),
    default=Encoding().quality,
    show_default=True,
    help="Of JPEG and lossy WebP.",
)
@click.option("--lossless", is_flag=True, help="WebP without loss.")
@click.option(
    "--depth",
    type=click.Choice(list(DEPTHS)),
    help="Bits a channel of PNG and TIFF. By default the input's; 8 for a mask.",
)
@click.option("--mask", is_flag=True, help="Write the mask alone, as gray.")
@foreground_option
@click.option(
    "--background",
    metavar="WHAT",
    help="Behind the subject: a color (white, #20a040), an image, or blur.",
)
@click.option("--crop", is_flag=True, help="Crop to the subject.")
@click.option(
    "--margin",
    metavar="PERCENT",
    type=click.FloatRange(min=0, max=1000),
    default=5.0,
    show_default=True,
    help="Around a cropped subject, of its longer side.",
)
@click.option(
    "--shadow",
    metavar="HOW",
    type=click.Choice(SHADOWS),
    default="none",
    show_default=True,
    help="none, or drop for a soft shadow below the subject.",
)
@click.option("--premultiply", is_flag=True, help="Multiply the colors by alpha.")
@click.option(
    "--all-frames", is_flag=True, help="Animations come out animated; else their first frame."
)
@click.option("--skip-existing", is_flag=True, help="Leave files alone whose result is there.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line for each file.")
def cutout(
    inputs: tuple[Location, ...],
    output: Location,
    files_from: IO[bytes] | None,
    model: str | None,
    size: Size,
    threads: int | None,
    provider: str,
    memory: Memory,
    max_memory: float | None,
    max_pixels: int | None,
    verbose: bool,
    batch: int,
    form: str | None,
    quality: int,
    lossless: bool,
    depth: str | None,
    mask: bool,
    foreground: Estimator,
    background: str | None,
    crop: bool,
    margin: float,
    shadow: Shadow,
    premultiply: bool,
    all_frames: bool,
    skip_existing: bool,
    as_json: bool,
) -> None:
    """Cut the subject out of images: files, whole folders, - for standard input.

    The EXIF orientation is applied, the color profile is kept. Folders are searched through, and
    their tree is kept. Where results would have one name, they keep the suffix (a.jpg.png) or as
    much of their folders as tells them apart; so do results in the folder that is searched, where
    nothing is overwritten. An input never is. A file that fails gets a line and the others are
    still done; the exit code is then 1. Ctrl-C finishes the files in hand; the same command with
    --skip-existing goes on from there.
    """
    if math.isnan(margin):
        raise click.BadParameter("nan is no number of percent", param_hint="'--margin'")
    if max_memory and batch > 1:
        raise click.UsageError("--max-memory is kept for one image at a time; leave --batch out")
    if as_json and output == STANDARD_STREAM:
        raise click.UsageError("--json and the image can't both go to standard output")
    if (as_json or output == STANDARD_STREAM) and not sys.stdout.writable():
        raise OutputError("standard output is closed; nothing was done")
    listed = [*inputs, *(read_list(files_from.read()) if files_from else ())]
    if not listed:
        raise click.UsageError("nothing to cut out: give files or folders")
    plan = plan_cutouts(listed, output, format_named(form) if form else None)
    recipe = Recipe(
        model=model or "nano",
        size=size,
        threads=threads,
        providers=provider,
        memory=memory,
        max_memory=max_memory,
        verbose=verbose,
        style=Style(
            mask=mask,
            depth=DEPTHS[depth] if depth else None,
            foreground=foreground,
            background=parse_background(background) if background else None,
            crop=margin / 100 if crop else None,
            shadow=shadow,
            premultiply=premultiply,
        ),
        encoding=Encoding(plan.format, quality, lossless),
        all_frames=all_frames,
        skip_existing=skip_existing,
        batch=batch,
        max_pixels=max_pixels,
        remote=plan.remote,
    )
    check_style(recipe.style, recipe.encoding)
    summary = Summary(plan, output, "mask" if mask else "cutout", as_json)
    summary.close(_run(plan, recipe, summary, model is None))


def _run(plan: CutoutPlan, recipe: Recipe, summary: Summary, demonstration: bool) -> str | None:
    """Do the jobs in this process; where it was stopped, if it was."""
    if plan.count == 0:
        return None
    cutter = recipe.open()
    if demonstration:
        say(DEMONSTRATION)
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
