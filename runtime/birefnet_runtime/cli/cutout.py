"""`birefnet cutout`."""

from pathlib import Path
from typing import IO, Literal

import click

from ..batch.file_cutter import FileCutter, check_style
from ..batch.plan import STANDARD_STREAM, plan, read_list
from ..cutout.background import parse_background
from ..cutout.compose import SHADOWS, Shadow, Style
from ..cutout.foreground import ESTIMATORS, Estimator
from ..images.write import FORMATS, Encoding, format_named
from ..model.input_size import Size
from ..segmenter import Segmenter
from ..session.memory_limit import Memory
from .options import max_memory_option, memory_option, provider_option, read_size, verbose_option
from .progress import Show

DEMONSTRATION = (
    "using nano, a demonstration model; for real work export BiRefNet_lite or larger "
    "(birefnet export --help) and give it with --model"
)
DEPTHS: dict[str | None, Literal[8, 16] | None] = {None: None, "8": 8, "16": 16}


@click.command(
    epilog="Example: birefnet cutout photo.jpg holiday/ --output cutouts --format webp --crop"
)
@click.argument("inputs", metavar="INPUT...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    metavar="PATH",
    required=True,
    type=click.Path(path_type=Path),
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
    help="A name from `birefnet models`, an .onnx file, or a directory that holds one.",
)
@click.option(
    "--size",
    metavar="SIZE",
    callback=read_size,
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
@click.option(
    "--batch",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    help="Images that may go through the network at once; GPUs gain from it, CPUs don't.",
)
@click.option(
    "--format",
    "form",
    metavar="FORMAT",
    type=click.Choice([form.name for form in FORMATS]),
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
    type=click.Choice([key for key in DEPTHS if key]),
    help="Bits a channel of PNG and TIFF. By default the input's; 8 for a mask.",
)
@click.option("--mask", is_flag=True, help="Write the mask alone, as gray.")
@click.option(
    "--foreground",
    metavar="HOW",
    type=click.Choice(ESTIMATORS),
    default="blur",
    show_default=True,
    help="How the subject's own colors are found where it is partly transparent, so that no halo "
    "of the old background stays: blur, pymatting, or none to leave the picture's.",
)
@click.option(
    "--background",
    metavar="WHAT",
    help="Behind the subject: a color (white, #20a040), an image, or blur.",
)
@click.option("--crop", is_flag=True, help="Crop to the subject.")
@click.option(
    "--margin",
    metavar="PERCENT",
    type=click.FloatRange(min=0),
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
    inputs: tuple[Path, ...],
    output: Path,
    files_from: IO[bytes] | None,
    model: str | None,
    size: Size,
    threads: int | None,
    provider: str,
    memory: Memory,
    max_memory: float | None,
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
    their tree is kept. An input is never overwritten. A file that fails gets a line and the others
    are still done; the exit code is then 1. Ctrl-C finishes the files in hand; the same command
    with --skip-existing goes on from there.
    """
    if as_json and output == STANDARD_STREAM:
        raise click.UsageError("--json and the image can't both go to standard output")
    listed = [*inputs, *(read_list(files_from.read()) if files_from else ())]
    if not listed:
        raise click.UsageError("nothing to cut out: give files or folders")
    planned = plan(listed, output, format_named(form) if form else None)
    style = Style(
        mask=mask,
        depth=DEPTHS[depth],
        foreground=foreground,
        background=parse_background(background) if background else None,
        crop=margin / 100 if crop else None,
        shadow=shadow,
        premultiply=premultiply,
    )
    encoding = Encoding(planned.format, quality, lossless)
    check_style(style, encoding)
    show = Show(planned, "mask" if mask else "cutout", as_json)
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
            show.say(DEMONSTRATION)
        if segmenter.session_info and segmenter.session_info.provider.name != "cpu":
            show.say(segmenter.session_info.describe())
        cutter = FileCutter(segmenter, style, encoding, all_frames, skip_existing, batch)
        show.follow(cutter.cut_out)
    show.sum_up(output)
