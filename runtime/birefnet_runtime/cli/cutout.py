"""`birefnet cutout`."""

import json
import math
import sys
import time
from pathlib import Path
from typing import IO, Literal, get_args

import click
from birefnet_models.text import format_seconds

from ..batch.file_cutter import FileCutter, FileReport, check_style
from ..batch.plan import STANDARD_STREAM, CutoutPlan, plan_cutouts, read_list
from ..cutout.background import parse_background
from ..cutout.compose import SHADOWS, Metadata, Shadow, Style
from ..cutout.foreground import Estimator
from ..errors import ImageError, OutputError
from ..images.write import Encoding, FormatName, format_named
from ..model.input_size import Size
from ..segmenter import Segmenter
from ..session.memory_limit import Memory
from .fetching import MODEL_HELP, located
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
from .progress import STOPPED, interruptible, progress_bar, say

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
@click.argument(
    "inputs", metavar="INPUT...", nargs=-1, type=click.Path(readable=False, path_type=Path)
)
@click.option(
    "--output",
    "-o",
    metavar="PATH",
    required=True,
    type=click.Path(readable=False, path_type=Path),
    help="A file for one input file (its suffix is the format), - for standard output, else a "
    "directory; made if missing.",
)
@click.option(
    "--files-from",
    metavar="FILE",
    type=click.File("rb"),
    help="Inputs from a file or, with -, from standard input: one a line, or ended by NUL.",
)
@click.option(
    "--model",
    "-m",
    metavar="MODEL",
    help=MODEL_HELP,
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
    help="png, webp, tiff, jpeg or avif. By default the output's suffix, else png.",
)
@click.option(
    "--quality",
    metavar="1-100",
    type=click.IntRange(1, 100),
    default=Encoding().quality,
    show_default=True,
    help="Of JPEG, AVIF and lossy WebP.",
)
@click.option("--lossless", is_flag=True, help="WebP without loss.")
@click.option(
    "--effort",
    metavar="0-6",
    type=click.IntRange(0, 6),
    help="Of WebP and AVIF: 0 is fast, 6 small; by default where more gains little.",
)
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
    "--strip",
    "metadata",
    flag_value="strip",
    type=click.Choice(get_args(Metadata)),
    default="keep",
    help="Leave out EXIF, copyright and resolution, which otherwise go along, but for GPS.",
)
@click.option("--keep-gps", "metadata", flag_value="keep-gps", help="Keep GPS, too.")
@click.option(
    "--all-frames", is_flag=True, help="Animations come out animated; else their first frame."
)
@click.option("--skip-existing", is_flag=True, help="Leave files alone whose result is there.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line for each file.")
def cutout(
    inputs: tuple[Path, ...],
    output: Path,
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
    effort: int | None,
    depth: str | None,
    mask: bool,
    foreground: Estimator,
    background: str | None,
    crop: bool,
    margin: float,
    shadow: Shadow,
    premultiply: bool,
    metadata: Metadata,
    all_frames: bool,
    skip_existing: bool,
    as_json: bool,
) -> None:
    """Cut the subject out of images: files, whole folders, - for standard input.

    The EXIF orientation is applied; color profile, EXIF and resolution are kept. Folders are
    searched through, and their tree is kept. Where results would have one name, they keep the
    suffix (a.jpg.png) or as much of their folders as tells them apart; so do results in the folder
    that is searched, where nothing is overwritten. An input never is. A file that fails gets a line
    and the others are still done; the exit code is then 1. Ctrl-C finishes the files in hand; the
    same command with --skip-existing goes on from there.
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
    style = Style(
        mask=mask,
        depth=DEPTHS[depth] if depth else None,
        foreground=foreground,
        background=parse_background(background) if background else None,
        crop=margin / 100 if crop else None,
        shadow=shadow,
        premultiply=premultiply,
        metadata=metadata,
    )
    encoding = Encoding(plan.format, quality, lossless, effort)
    check_style(style, encoding)
    summary = _Summary(plan, output, "mask" if mask else "cutout", as_json)
    if plan.jobs:
        segmenter = Segmenter(
            located(model or "nano"),
            size=size,
            threads=threads,
            providers=provider,
            memory=memory,
            max_memory=max_memory,
            verbose=verbose,
        )
        if model is None:
            say(DEMONSTRATION)
        if segmenter.session_info and segmenter.session_info.provider.name != "cpu":
            say(segmenter.session_info.describe())
        cutter = FileCutter(
            segmenter, style, encoding, all_frames, skip_existing, batch, max_pixels
        )
        with interruptible() as stopped, progress_bar(len(plan.jobs)) as bar:
            task = bar.add_task("cutting out", total=len(plan.jobs))
            for report in cutter.cut_out(plan.jobs, stopped=stopped):
                summary.add(report)
                bar.advance(task)
    summary.close()


class _Summary:
    """The lines of a run: one for each failure, and the last, which counts.

    Args:
        plan: what is to be done.
        output: as it was typed.
        noun: what comes out, `cutout` or `mask`.
        as_json: print a JSON line for each file, too.
    """

    def __init__(self, plan: CutoutPlan, output: Path, noun: str, as_json: bool) -> None:
        self._jobs = plan.jobs
        self._output = plan.jobs[0].target if len(plan.jobs) == 1 else output
        self._noun = noun
        self._as_json = as_json
        self._started = time.perf_counter()
        self._done = self._skipped = 0
        self._failed = len(plan.failures)
        self._reports = 0
        for failure in plan.failures:
            say(failure.error)
            if as_json:
                record = {"input": str(failure.source), "output": None, "error": str(failure.error)}
                click.echo(json.dumps(record))

    def add(self, report: FileReport) -> None:
        """Count the next file, and say what is worth a line."""
        self._reports += 1
        if report.error is not None:
            self._failed += 1
            say(report.error)
        elif report.skipped:
            self._skipped += 1
        else:
            self._done += 1
            if report.subject and not report.subject.found:
                say(f"{report.job.source}: no subject found")
        if self._as_json:
            click.echo(json.dumps(report.as_record()))

    def close(self) -> None:
        """Say what was done, and end the program accordingly.

        Raises:
            click.exceptions.Exit: not everything went well.
        """
        took = format_seconds(time.perf_counter() - self._started)
        line = f"{self._done} {self._noun}{'' if self._done == 1 else 's'} in {took}"
        if self._skipped:
            line += f", {self._skipped} there already"
        if self._failed:
            line += f", {self._failed} failed"
        say(f"{line}: {self._output}" if self._done else line)
        if self._reports < len(self._jobs):
            say(
                f"stopped before {self._jobs[self._reports].source}; the same command with "
                "--skip-existing goes on there"
            )
            raise click.exceptions.Exit(STOPPED)
        if self._failed:
            raise click.exceptions.Exit(1)
