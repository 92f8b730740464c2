"""`birefnet cutout`."""

import math
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, Literal, get_args

import click
from birefnet_runtime.cutout.background import parse_background
from birefnet_runtime.cutout.compose import SHADOWS, Metadata, Shadow, Style
from birefnet_runtime.cutout.foreground import Estimator
from birefnet_runtime.cutout.mask import Clean
from birefnet_runtime.errors import OutputError
from birefnet_runtime.images.write import Encoding, FormatName, format_named
from birefnet_runtime.segmenter import Opening
from birefnet_runtime.session.providers import Cpu

from ..files.cutter import CutterSettings, check_style
from ..files.jobs import CutoutPlan, Job, Shard, selected
from ..files.plan import made_ready, plan_again, plan_cutouts, read_list
from ..storage import STANDARD_STREAM, CredentialsError, Location, plain
from .completion import model_names
from .options import (
    CutoutCommand,
    ListType,
    LocationType,
    batch_option,
    clean_option,
    foreground_option,
    opening_options,
    parse_actors,
    parse_canvas,
    parse_margin,
    parse_pixels,
    parse_shard,
    parsed,
    read_again,
)
from .terminal import (
    MODEL_HELP,
    SKIP_EXISTING,
    STOPPED,
    Summary,
    interruptible,
    located,
    progress_bar,
    say,
)

DEMONSTRATION = (
    "using nano, a demonstration model; for real work export BiRefNet_lite or larger "
    "(birefnet export --help) and give it with --model"
)
PLACES = ("local", "ray")
DEPTHS: dict[str, Literal[8, 16]] = {"8": 8, "16": 16}
RECORD_FORMATS = ("jsonl", "parquet")
RENEW = "renew the credentials, then the same command with --skip-existing goes on there"
METADATA: dict[str, Metadata] = {"keep": "keep", "gps": "keep-gps", "strip": "strip"}
_STDOUT = frozenset({"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})


def run_here(
    plan: CutoutPlan,
    settings: CutterSettings,
    summary: Summary,
    output: Location,
    *,
    note: str | None = None,
    max_failures: int | None = None,
) -> None:
    """Do the jobs in this process, and say what was done.

    Args:
        plan: the jobs.
        settings: how they are done.
        summary: told of each.
        output: where results go.
        note: a line for when the model is open.
        max_failures: with so many, no more is begun.

    Raises:
        click.exceptions.Exit: not everything went well.
    """
    if plan.count == 0:
        summary.close(None)
        return
    settings, jobs = made_ready(plan, settings, output)
    cutter = replace(settings, model=located(settings.model)).open()
    if note:
        say(note)
    info = cutter.segmenter.session_info
    if info and not (isinstance(info.provider, Cpu) and info.provider.kernels != "on"):
        say(info.describe())
    drawn: deque[Job] = deque()  # and without a report yet
    refused: list[str] = []

    def draw() -> Iterator[Job]:
        for job in jobs:
            drawn.append(job)
            yield job

    most = math.inf if max_failures is None else max_failures
    with interruptible() as interrupted, progress_bar(plan.count) as bar:
        task = bar.add_task("cutting out", total=plan.count)
        for report in cutter.cut_out(
            draw(), stopped=lambda: bool(interrupted.signal or refused) or summary.failed >= most
        ):
            drawn.popleft()
            if isinstance(report.error, CredentialsError):
                refused.append(report.job.name)
            summary.add(report.as_record(), report.details)
            bar.advance(task)
        ended = bool(interrupted.signal or refused) or summary.failed >= most
        left = (drawn[0] if drawn else next(jobs, None)) if ended else None
    code = STOPPED + interrupted.signal if interrupted.signal else 1
    advice = RENEW if refused else SKIP_EXISTING
    summary.close(f"before {left.source}" if left else None, code, advice=advice)


@click.command(
    cls=CutoutCommand,
    epilog="Example: birefnet cutout photo.jpg holiday/ --output cutouts --format webp --crop",
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
    shell_complete=model_names,
    help=MODEL_HELP,
)
@opening_options
@click.option(
    "--max-pixels",
    metavar="N",
    callback=parsed(parse_pixels),
    help="Read images of up to N pixels, as 200M for 200 megapixels; by default 178M.",
)
@batch_option
@click.option(
    "--refine",
    is_flag=True,
    help="Run twice: where the subject fills little of the picture, at its surroundings alone, "
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
@click.option(
    "--crop",
    metavar="[MARGIN]",
    callback=parsed(parse_margin),
    help="Crop to the subject and 5% of its longer side around it, or another margin, as 10%.",
)
@click.option(
    "--canvas",
    metavar="SHAPE[,PADDING[,POSITION]]",
    help="Put the subject on a canvas of its own: 1000x800 pixels, width first, into which it is "
    "scaled, or an aspect, as 4:5, at the picture's resolution. Free around it stay 5% of the "
    "canvas or PADDING: 40px, two (above and below, beside) or four (above, right, below, left), "
    "as '1:1, 10% 5% 0 5%'. In what is left it is in the center or at POSITION, from the left and "
    "the top: '1:1, 10%, 50% 100%'.",
)
@click.option(
    "--shadow",
    metavar="HOW",
    type=click.Choice(SHADOWS),
    default="none",
    show_default=True,
    help="none, or drop for a soft shadow below the subject.",
)
@click.option("--premultiply", is_flag=True, hidden=True)
@click.option(
    "--metadata",
    type=click.Choice(list(METADATA)),
    default="keep",
    show_default=True,
    help="EXIF, copyright and resolution go along, but for the place where the photograph was "
    "taken (keep), with it (gps), or stay out (strip).",
)
@click.option(
    "--all-frames", is_flag=True, help="Animations come out animated; else their first frame."
)
@click.option("--skip-existing", is_flag=True, help="Leave files alone whose result is there.")
@click.option(
    "--relative-to",
    metavar="FOLDER",
    type=LocationType(),
    help="A folder or URL that all inputs are below: names of results are their paths from there, "
    "whatever else is listed, as x/1.jpg.png.",
)
@click.option(
    "--shard",
    metavar="I/N",
    callback=parsed(parse_shard),
    help="Do the I-th of N parts of the files, as one of N processes does.",
)
@click.option(
    "--retry-failed",
    metavar="RECORDS",
    type=LocationType(),
    help="Do the files again that failed last in these records: a file (of --json or --records) "
    "or a folder of them. Without INPUT the records say where results go.",
)
@click.option(
    "--max-failures",
    metavar="N",
    type=click.IntRange(min=1),
    help="Stop when N files have failed.",
)
@click.option(
    "--records",
    type=click.Choice(RECORD_FORMATS),
    help="Write a record of each file below OUTPUT/birefnet-records, a thousand a part: JSON lines "
    "or parquet, with model, ETag, bytes and times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line for each file.")
@click.option(
    "--on",
    "place",
    type=click.Choice(PLACES),
    default=PLACES[0],
    show_default=True,
    help="Where the work is done: in this process, or by actors of Ray's on one machine or many.",
)
@click.option(
    "--ray-address",
    metavar="ADDRESS",
    help="Of a running cluster's head, HOST:PORT or auto; by default Ray is started here.",
)
@click.option(
    "--actors",
    metavar="N[xEACH]",
    help="Processes with a model each, as 4, 4x2cpu or 0.5gpu; by default as many as the cluster "
    "has room for, with the CPUs of the smallest machine, but no more than 4.",
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
    crop: float | None,
    canvas: str | None,
    shadow: Shadow,
    premultiply: bool,
    metadata: str,
    all_frames: bool,
    skip_existing: bool,
    relative_to: Location | None,
    shard: Shard | None,
    retry_failed: Location | None,
    max_failures: int | None,
    records: Literal["jsonl", "parquet"] | None,
    as_json: bool,
    place: str,
    ray_address: str | None,
    actors: str | None,
) -> None:
    """Cut the subject out of images: files, whole folders, - for standard input.

    The EXIF orientation is applied; color profile, EXIF and resolution are kept. Folders are
    searched through, and their tree is kept. Where results would have one name, they keep the
    suffix (a.jpg.png) or as much of their folders as tells them apart; so do results in the folder
    that is searched, where nothing is overwritten. An input never is, nor the result of another. A
    file that fails gets a line and the others are still done; the exit code is then 1. Ctrl-C
    finishes the files in hand; the same command with --skip-existing goes on from there.
    """
    if str(output) in _STDOUT:
        output = STANDARD_STREAM
    on_ray = place == "ray"
    if opening["max_memory"] and batch > 1:
        raise click.UsageError("--max-memory is kept for one image at a time; leave --batch out")
    if not on_ray and (ray_address is not None or actors is not None):
        raise click.UsageError("--ray-address and --actors need --on ray")
    if on_ray and STANDARD_STREAM in (*inputs, output):
        raise click.UsageError("standard input and output are this process's; not with --on ray")
    if as_json and output == STANDARD_STREAM:
        raise click.UsageError("--json and the image can't both go to standard output")
    if (as_json or output == STANDARD_STREAM) and not sys.stdout.writable():
        raise OutputError("standard output is closed; nothing was done")
    count, cpus, gpus = (
        (None, None, None) if actors is None else read_again("--actors", parse_actors, actors)
    )
    listed = [*inputs, *(read_list(files_from.read()) if files_from else ())]
    failed = None
    if retry_failed is not None:
        from ..files.records import read_failed  # not every run has records

        failed = read_failed(retry_failed)
    if not listed and failed is None:
        raise click.UsageError("nothing to cut out: give files or folders")
    named = format_named(form) if form else None
    if listed:
        plan = plan_cutouts(listed, output, named, relative_to=relative_to)
        if failed is not None:
            plan = selected(plan, lambda job: plain(job.source) in failed)
    else:
        plan = plan_again(failed or {}, output, named, relative_to=relative_to)
    if shard is not None:
        plan = selected(plan, shard.holds)
    settings = CutterSettings(
        model or "nano",
        opening,
        style=Style(
            mask=mask,
            depth=DEPTHS[depth] if depth else None,
            foreground=foreground,
            background=parse_background(background) if background else None,
            clean=clean,
            crop=crop,
            layout=None if canvas is None else read_again("--canvas", parse_canvas, canvas),
            shadow=shadow,
            premultiply=premultiply,
            metadata=METADATA[metadata],
        ),
        encoding=Encoding(plan.format, quality, lossless, effort),
        all_frames=all_frames,
        skip_existing=skip_existing,
        batch=batch,
        max_pixels=max_pixels,
        remote=plan.remote,
        detailed=records is not None,
    )
    check_style(settings.style, settings.encoding)
    writer = None
    if records is not None:
        from ..files.records import RecordWriter, check_records_place

        writer = RecordWriter(check_records_place(output), records, {"model": settings.model})
    note = DEMONSTRATION if model is None and plan.count != 0 else None
    noun = "mask" if mask else "cutout"
    if not on_ray:
        summary = Summary(plan, output, noun, sys.stdout if as_json else None, writer)
        run_here(plan, settings, summary, output, note=note, max_failures=max_failures)
        return
    from .on_ray import RayOptions, own_standard_output, run_on_ray

    with own_standard_output() as stdout:
        summary = Summary(plan, output, noun, stdout if as_json else None, writer)
        if note:
            say(note)
        options = RayOptions(ray_address, count, cpus, gpus)
        run_on_ray(plan, settings, summary, output, options, max_failures=max_failures)
