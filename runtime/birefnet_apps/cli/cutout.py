"""`birefnet cutout`."""

import math
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import IO, Literal, get_args

import click
from birefnet_runtime.cutout.background import parse_background
from birefnet_runtime.cutout.compose import SHADOWS, Metadata, Shadow, Style
from birefnet_runtime.cutout.foreground import Estimator
from birefnet_runtime.cutout.layout import (
    CENTER,
    PADDING,
    Canvas,
    Margins,
    parse_padding,
    parse_place,
    parse_shape,
)
from birefnet_runtime.cutout.mask import Clean
from birefnet_runtime.errors import ImageError, OutputError
from birefnet_runtime.images.write import Encoding, FormatName, format_named
from birefnet_runtime.segmenter import Opening
from birefnet_runtime.session.providers import Cpu

from ..files.cutter import CutterSettings, check_style
from ..files.jobs import CutoutPlan, Job
from ..files.plan import plan_cutouts, read_list
from ..storage import STANDARD_STREAM, Location
from .options import (
    ListType,
    LocationType,
    batch_option,
    clean_option,
    foreground_option,
    opening_options,
    parsed,
)
from .terminal import MODEL_HELP, Summary, interruptible, located, progress_bar, say

# Where `birefnet cutout` works: in this process, or on a Ray cluster.


def run_here(
    plan: CutoutPlan, settings: CutterSettings, summary: Summary, note: str | None = None
) -> str | None:
    """Do the jobs in this process; where it was stopped, if it was. `note` is for an open model."""
    if plan.count == 0:
        return None
    cutter = replace(settings, model=located(settings.model)).open()
    if note:
        say(note)
    info = cutter.segmenter.session_info
    if info and not (isinstance(info.provider, Cpu) and info.provider.kernels != "on"):
        say(info.describe())
    jobs = iter(plan.jobs)
    drawn: deque[Job] = deque()  # and without a report yet

    def draw() -> Iterator[Job]:
        for job in jobs:
            drawn.append(job)
            yield job

    with interruptible() as stopped, progress_bar(plan.count) as bar:
        task = bar.add_task("cutting out", total=plan.count)
        for report in cutter.cut_out(draw(), stopped=stopped):
            drawn.popleft()
            summary.add(report.as_record())
            bar.advance(task)
        left = (drawn[0] if drawn else next(jobs, None)) if stopped() else None
    return f"before {left.source}" if left else None


def run_on_ray(
    plan: CutoutPlan,
    settings: CutterSettings,
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
    from ..ray.dataset import records_of
    from ..ray.tables import plain_record

    if plan.count == 0:
        return None
    count = None
    with suppress(KeyboardInterrupt), connected(address):
        quiet()
        records = records_of(plan, settings, Pool(actors, cpus, gpus), failures=False)
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


DEMONSTRATION = (
    "using nano, a demonstration model; for real work export BiRefNet_lite or larger "
    "(birefnet export --help) and give it with --model"
)
ENGINES = ("local", "ray")
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
    help=MODEL_HELP,
)
@opening_options
@click.option(
    "--max-pixels",
    metavar="N",
    callback=parsed(_parse_pixels),
    help="Read images of up to N pixels, as 200M for 200 megapixels; by default 178M.",
)
@batch_option
@click.option(
    "--refine",
    is_flag=True,
    help="Look twice: where the subject fills little of the picture, at its surroundings alone, "
    "too. Its edge gets finer, and the network runs twice.",
)
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
@clean_option
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
    "--canvas",
    metavar="WxH|A:B",
    callback=parsed(parse_shape),
    help="Put the subject on a canvas of its own: of so many pixels, width first, into which it is "
    "scaled, or of an aspect, as 4:5, at the picture's resolution.",
)
@click.option(
    "--padding",
    metavar="LENGTH",
    callback=parsed(parse_padding),
    help="Free around it: 5% of the canvas (the default) or 40px; two (above and below, beside) or "
    "four (above, right, below, left), as '10% 5% 0 5%'.",
)
@click.option(
    "--position",
    metavar="WHERE",
    callback=parsed(parse_place),
    help="In what is left: center (the default), or as '50% 100%' from the left and the top.",
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
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default=ENGINES[0],
    show_default=True,
    help="What does the work: this process, or actors of Ray's on one machine or many.",
)
@click.option(
    "--ray-address",
    metavar="ADDRESS",
    help="Of a running cluster's head, HOST:PORT or auto; by default Ray is started here.",
)
@click.option(
    "--actors",
    metavar="N",
    type=click.IntRange(min=1),
    help="Processes with a model each; by default as many as the cluster has room for.",
)
@click.option(
    "--cpus-per-actor",
    metavar="C",
    type=click.FloatRange(min=1),
    help="By default those of the smallest machine, but no more than 4.",
)
@click.option(
    "--gpus-per-actor",
    metavar="G",
    type=click.FloatRange(min=0, min_open=True),
    help="Of each actor, in place of CPUs.",
)
def cutout(
    inputs: tuple[Location, ...],
    output: Location,
    files_from: IO[bytes] | None,
    model: str | None,
    opening: Opening,
    max_pixels: int | None,
    batch: int,
    form: str | None,
    quality: int,
    lossless: bool,
    effort: int | None,
    depth: str | None,
    mask: bool,
    clean: Clean | None,
    foreground: Estimator,
    background: str | None,
    crop: bool,
    margin: float,
    canvas: tuple[int, int] | float | None,
    padding: Margins | None,
    position: tuple[float, float] | None,
    shadow: Shadow,
    premultiply: bool,
    metadata: Metadata,
    all_frames: bool,
    skip_existing: bool,
    as_json: bool,
    engine: str,
    ray_address: str | None,
    actors: int | None,
    cpus_per_actor: float | None,
    gpus_per_actor: float | None,
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
    if canvas is None and not (padding is None and position is None):
        raise click.UsageError("--padding and --position are of a canvas; give --canvas, too")
    if opening["max_memory"] and batch > 1:
        raise click.UsageError("--max-memory is kept for one image at a time; leave --batch out")
    on_ray = (ray_address, actors, cpus_per_actor, gpus_per_actor)
    if engine != "ray" and any(option is not None for option in on_ray):
        raise click.UsageError("--ray-address, --actors and what is per actor need --engine ray")
    if cpus_per_actor and gpus_per_actor:
        raise click.UsageError("an actor is given CPUs or GPUs; leave one of the two out")
    if engine == "ray" and STANDARD_STREAM in (*inputs, output):
        raise click.UsageError(
            "standard input and output are this process's; not with --engine ray"
        )
    if as_json and output == STANDARD_STREAM:
        raise click.UsageError("--json and the image can't both go to standard output")
    if (as_json or output == STANDARD_STREAM) and not sys.stdout.writable():
        raise OutputError("standard output is closed; nothing was done")
    listed = [*inputs, *(read_list(files_from.read()) if files_from else ())]
    if not listed:
        raise click.UsageError("nothing to cut out: give files or folders")
    plan = plan_cutouts(listed, output, format_named(form) if form else None)
    settings = CutterSettings(
        model or "nano",
        opening,
        style=Style(
            mask=mask,
            depth=DEPTHS[depth] if depth else None,
            foreground=foreground,
            background=parse_background(background) if background else None,
            clean=clean,
            crop=margin / 100 if crop else None,
            layout=None
            if canvas is None
            else Canvas(canvas, padding or (PADDING,) * 4, position or CENTER),
            shadow=shadow,
            premultiply=premultiply,
            metadata=metadata,
        ),
        encoding=Encoding(plan.format, quality, lossless, effort),
        all_frames=all_frames,
        skip_existing=skip_existing,
        batch=batch,
        max_pixels=max_pixels,
        remote=plan.remote,
    )
    check_style(settings.style, settings.encoding)
    summary = Summary(plan, output, "mask" if mask else "cutout", as_json)
    note = DEMONSTRATION if model is None and plan.count != 0 else None
    if engine == "ray":
        if note:
            say(note)
        left = run_on_ray(
            plan,
            settings,
            summary,
            address=ray_address,
            actors=actors,
            cpus=cpus_per_actor,
            gpus=gpus_per_actor,
        )
    else:
        left = run_here(plan, settings, summary, note)
    summary.close(left)
