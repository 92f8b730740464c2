"""`birefnet bench`, a group: `run`, which is its default, `report` and `compare`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from birefnet_apps.cli.options import read_bytes
from birefnet_export.cli.fetch_options import fetching_options
from birefnet_export.graph.lowering import LOWERINGS
from birefnet_export.options import DEFAULT_LOWERING, PRECISIONS
from birefnet_models.base.errors import BirefnetError
from birefnet_models.base.text import did_you_mean, printable
from birefnet_models.pins import FetchOptions
from birefnet_runtime.machine import usable_cores
from birefnet_runtime.model.size import parse_size
from birefnet_runtime.session.providers import parse_providers, split_providers

from .report import FiniteRange, compare, report, write_documents

LARGEST_SIDE = 1 << 15
MOST = 1024
"""Threads, and images in a batch."""


class BenchGroup(click.Group):
    """Runs `bench run` where the first argument names no command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = bool(args) and args[0] in (*self.commands, *ctx.help_option_names)
        return super().parse_args(ctx, args if named else ["run", *args])


@click.group(
    cls=BenchGroup,
    epilog="Example: birefnet bench lite --against lite --sizes 512,1024 --output out/bench",
)
def bench() -> None:
    """Measure configurations of BiRefNet: latency, memory, accuracy.

    `birefnet bench MODEL...` is short for `birefnet bench run MODEL...`.
    """


bench.add_command(report)
bench.add_command(compare)


def _listed(
    read: Callable[[str], Any], split: Callable[[str], list[str]] = lambda text: text.split(",")
) -> Callable[..., Any]:
    """A callback that makes `a,b,c` a tuple of what `read` makes of each part."""

    def callback(_: click.Context, __: click.Parameter, text: str | None) -> tuple[Any, ...] | None:
        if text is None:
            return None
        try:
            return tuple(dict.fromkeys(read(part.strip()) for part in split(text)))
        except (BirefnetError, ValueError) as error:
            raise click.BadParameter(str(error)) from error

    return callback


def _size(text: str) -> tuple[int, int]:
    size = parse_size(text)
    height_width = (size, size) if isinstance(size, int) else size
    if not isinstance(height_width, tuple):
        raise ValueError(f"{text!r} is not a size; give N or HxW, height first")
    if not all(1 <= side <= LARGEST_SIDE for side in height_width):
        raise ValueError(f"{text!r} is not a size that can run; sides go from 1 to {LARGEST_SIDE}")
    return height_width


def _provider(text: str) -> str:
    parse_providers(text)
    return text


def _count(text: str) -> int:
    if not (text.isdecimal() and len(text) < 9 and 1 <= int(text) <= MOST):
        raise ValueError(f"{text[:40]!r} is not a whole number from 1 to {MOST}")
    return int(text)


def _among(*known: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"{text!r} is none of {', '.join(known)}{did_you_mean(text, known)}")
        return text

    return read


@bench.command(
    epilog="Example: birefnet bench run lite --against lite --sizes 512,1024 --output out/bench",
)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option(
    "--output",
    "-o",
    "directory",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for report.json, report.csv, report.md, report.html and pictures/.",
)
@click.option(
    "--against",
    metavar="CHECKPOINT",
    help="The baseline in PyTorch: a checkpoint, as `birefnet export` takes it, or "
    "transformers:REPO@REVISION for the repository's own code.",
)
@click.option(
    "--pytorch",
    metavar="MODES",
    default="eager",
    show_default=True,
    callback=_listed(str),
    help="Modes in which PyTorch runs a checkpoint: eager, compile, bf16; on a GPU eager:cuda.",
)
@click.option(
    "--providers",
    metavar="NAMES",
    default="cpu",
    show_default=True,
    callback=_listed(_provider, split_providers),
    help="Execution providers to measure, as `cutout --provider` takes them: cpu, openvino:bf16, "
    "cuda, tensorrt:fp16, webgpu:preferredLayout=NHWC. There is no fallback to another.",
)
@click.option(
    "--sizes",
    metavar="SIZES",
    callback=_listed(_size),
    help="Input sizes, N or HxW (height first). By default that at which the model was trained.",
)
@click.option(
    "--batches",
    metavar="NUMBERS",
    default="1",
    show_default=True,
    callback=_listed(_count),
    help="Batch sizes.",
)
@click.option(
    "--threads",
    metavar="NUMBERS",
    callback=_listed(_count),
    help="Numbers of threads. By default as many as there are usable cores.",
)
@click.option(
    "--lowerings",
    metavar="NAMES",
    default=DEFAULT_LOWERING,
    show_default=True,
    callback=_listed(_among(*LOWERINGS)),
    help=f"Lowerings in which a checkpoint is exported: {', '.join(LOWERINGS)}.",
)
@click.option(
    "--precisions",
    metavar="NAMES",
    callback=_listed(_among(*PRECISIONS)),
    help=f"Precisions: {', '.join(PRECISIONS)}. A checkpoint is exported in each (all except the "
    "first in the first lowering only); of an exported model the files are looked up.",
)
@click.option(
    "--calibrate",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Images for calibrating int8, as for `birefnet export`.",
)
@click.option(
    "--min-iou",
    metavar="IOU",
    type=FiniteRange(0, 1),
    help="The least mask IoU of int8, as for `birefnet export`.",
)
@click.option(
    "--images",
    metavar="PATH",
    multiple=True,
    type=click.Path(path_type=Path),
    help="An image or a folder of images on which whole pipelines are compared; repeatable.",
)
@click.option(
    "--seconds",
    metavar="S",
    type=FiniteRange(0, 1_000_000),
    default=10.0,
    show_default=True,
    help="Time for warm runs of each configuration: at most this, at least three rounds; less once "
    "the median is known.",
)
@click.option(
    "--timeout",
    metavar="S",
    type=FiniteRange(0, 1_000_000, min_open=True),
    default=600.0,
    show_default=True,
    help="A configuration whose start, round or image takes longer is ended, with that as result.",
)
@click.option(
    "--max-memory",
    metavar="AMOUNT",
    callback=read_bytes,
    help="A configuration that takes more, as 800MB or 4GB, is ended, with that as result.",
)
@click.option(
    "--note",
    "notes",
    metavar="TEXT",
    multiple=True,
    help="A note in the report; repeatable.",
)
@click.option(
    "--backend",
    "backends",
    metavar="MODULE:CLASS",
    multiple=True,
    help="A backend of your own to measure as well, with the methods of "
    "birefnet_benchmarks.bench.backends.base.Backend; repeatable.",
)
@click.option(
    "--trust-remote-code",
    is_flag=True,
    help="Run the Python code of a transformers: baseline. It has all your rights on this machine.",
)
@click.option(
    "--keep-going",
    is_flag=True,
    help="End with 0 where configurations failed, too; by default the exit code is then 1.",
)
@fetching_options
def run(
    models: tuple[str, ...],
    directory: Path,
    against: str | None,
    pytorch: tuple[str, ...],
    providers: tuple[str, ...],
    sizes: tuple[tuple[int, int], ...] | None,
    batches: tuple[int, ...],
    threads: tuple[int, ...] | None,
    lowerings: tuple[str, ...],
    precisions: tuple[str, ...] | None,
    calibrate: Path | None,
    min_iou: float | None,
    images: tuple[Path, ...],
    seconds: float,
    timeout: float,
    max_memory: float | None,
    notes: tuple[str, ...],
    backends: tuple[str, ...],
    trust_remote_code: bool,
    keep_going: bool,
    fetching: FetchOptions,
) -> None:
    """Measure configurations of models on this machine, and write a report.

    MODEL is a name from `birefnet models`, an .onnx file of any exporter, a directory that holds
    one, or a checkpoint, which is exported for this and compared with itself in PyTorch. Each
    configuration (backend, variant, precision, provider) runs in a process of its own; those of one
    model and size are interleaved, so that drift of the machine favors none. A configuration that
    fails is a result, and the others are still measured; the exit code is then 1.
    """
    if min_iou is not None and calibrate is None:
        raise click.UsageError("--min-iou judges the images of --calibrate; give both")
    from ..bench.inputs import BenchRequest, Int8Options
    from ..bench.measure.process import Limits
    from ..bench.previews import image_files
    from ..bench.run import Run, RunSettings
    from ..bench.workloads import Grid
    from ..report.markdown import summary_text

    request = BenchRequest(
        models=models,
        against=against,
        pytorch=pytorch,
        providers=providers,
        lowerings=lowerings,
        precisions=precisions,
        int8=Int8Options(calibrate, min_iou),
        trust_remote_code=trust_remote_code,
        backends=backends,
        fetching=fetching,
    )
    settings = RunSettings(
        grid=Grid(sizes or (), batches, threads or (usable_cores(),)),
        seconds=seconds,
        limits=Limits(timeout, max_memory),
        images=image_files(images),
        notes=notes,
    )
    measurement = Run(
        directory, ("birefnet", *sys.argv[1:]), lambda line: click.echo(printable(line), err=True)
    )
    try:
        measured = measurement.measure(request, settings)
    except KeyboardInterrupt:
        measurement.interrupted()
        raise
    click.echo(summary_text(measured))
    for file in write_documents(directory):
        click.echo(f"birefnet: {file}", err=True)
    failed = [result for result in measured.results if result.error]
    if failed and not keep_going:
        click.echo(
            f"birefnet: {len(failed)} of {len(measured.results)} configurations failed; the report "
            "says why (--keep-going ends with 0 all the same)",
            err=True,
        )
        raise click.exceptions.Exit(1)
