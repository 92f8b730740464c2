"""`birefnet bench`, and behind it `bench report` and `bench compare`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from birefnet_export.checkpoint.fetch import Fetching
from birefnet_export.cli.fetch_options import fetching_options
from birefnet_export.options import DEFAULT_LOWERING, LOWERINGS, PRECISIONS
from birefnet_models.errors import BirefnetError
from birefnet_runtime.cli.options import read_bytes
from birefnet_runtime.machine.cores import usable_cores
from birefnet_runtime.model.input_size import parse_size
from birefnet_runtime.session.providers import parse_providers


class BenchCommand(click.Command):
    """Runs, unless its first argument names one of the commands behind it."""

    def behind(self) -> dict[str, click.Command]:
        """Commands that work on runs that are there; imported when asked for."""
        from .report import compare, report

        return {"report": report, "compare": compare}

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        if args and args[0] in ("report", "compare"):
            name, *rest = args
            return self.behind()[name].make_context(f"{info_name} {name}", rest, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)


def _listed(read: Callable[[str], Any]) -> Callable[..., Any]:
    """A callback that makes `a,b,c` a tuple of what `read` makes of each part."""

    def callback(_: click.Context, __: click.Parameter, text: str | None) -> tuple[Any, ...] | None:
        if text is None:
            return None
        try:
            return tuple(dict.fromkeys(read(part.strip()) for part in text.split(",")))
        except (BirefnetError, ValueError) as error:
            raise click.BadParameter(str(error)) from error

    return callback


def _size(text: str) -> tuple[int, int]:
    size = parse_size(text)
    if isinstance(size, int):
        return size, size
    if not isinstance(size, tuple):
        raise ValueError(f"{text!r} is no size; give N or HxW, height first")
    return size


def _provider(text: str) -> str:
    parse_providers(text)
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _among(*known: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"{text!r} is none of {', '.join(known)}")
        return text

    return read


@click.command(
    cls=BenchCommand,
    epilog="Example: birefnet bench lite --against lite --sizes 512,1024 --output out/bench",
)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option(
    "--output",
    "-o",
    "directory",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Gets report.json, report.md, report.html and pictures/.",
)
@click.option(
    "--against",
    metavar="CHECKPOINT",
    help="What everything is compared with in PyTorch: a checkpoint, as `birefnet export` takes "
    "it, or transformers:REPO@REVISION for the repository's own code.",
)
@click.option(
    "--pytorch",
    metavar="WAYS",
    default="eager",
    show_default=True,
    callback=_listed(str),
    help="How PyTorch runs a checkpoint: eager, compile, bf16; on a GPU eager:cuda.",
)
@click.option(
    "--providers",
    metavar="NAMES",
    default="cpu",
    show_default=True,
    callback=_listed(_provider),
    help="A row for each, as `cutout --provider` takes them: cpu, openvino:bf16, cuda, "
    "tensorrt:fp16. There are no fallbacks here.",
)
@click.option(
    "--sizes",
    metavar="SIZES",
    callback=_listed(_size),
    help="N or HxW, height first. By default the size that the model was trained at.",
)
@click.option(
    "--batches", metavar="NUMBERS", default="1", show_default=True, callback=_listed(_count)
)
@click.option(
    "--threads",
    metavar="NUMBERS",
    callback=_listed(_count),
    help="By default as many as there are usable cores.",
)
@click.option(
    "--lowerings",
    metavar="NAMES",
    default=DEFAULT_LOWERING,
    show_default=True,
    callback=_listed(_among(*LOWERINGS)),
    help=f"Of a checkpoint that is exported for this: {', '.join(LOWERINGS)}.",
)
@click.option(
    "--precisions",
    metavar="NAMES",
    callback=_listed(_among(*PRECISIONS)),
    help=f"{', '.join(PRECISIONS)}. A checkpoint is exported in each, the others than the first "
    "in the first lowering; of an exported model they are looked up.",
)
@click.option(
    "--calibrate",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Images for the export to int8, as `birefnet export` has it.",
)
@click.option(
    "--min-iou",
    metavar="IOU",
    type=click.FloatRange(0, 1),
    help="As `birefnet export` has it.",
)
@click.option(
    "--images",
    metavar="PATH",
    multiple=True,
    type=click.Path(path_type=Path),
    help="An image or a folder of images for whole pipelines to be compared on; can be given "
    "several times.",
)
@click.option(
    "--seconds",
    metavar="S",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="Warm runs of each row, at most; three at least, and fewer once the median is known.",
)
@click.option(
    "--timeout",
    metavar="S",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="A row that takes longer for one thing is ended: that is its result.",
)
@click.option(
    "--max-memory",
    metavar="AMOUNT",
    callback=read_bytes,
    help="A row that takes more, as 800MB or 4GB, is ended: that is its result.",
)
@click.option(
    "--note",
    "notes",
    metavar="TEXT",
    multiple=True,
    help="A line for whoever reads the report; can be given several times.",
)
@click.option(
    "--backend",
    "backends",
    metavar="MODULE:CLASS",
    multiple=True,
    help="A backend of your own, beside ours; the class "
    "birefnet_benchmarks.bench.backends.base.Backend shows what it needs.",
)
@click.option(
    "--trust-remote-code",
    is_flag=True,
    help="Run the Python code of a transformers: reference. It can do on this machine all that "
    "you can.",
)
@fetching_options
def bench(
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
    fetching: Fetching,
) -> None:
    """Measure ways to run BiRefNet here: time, memory, and whether the answer is still the same.

    MODEL is a name from `birefnet models`, an .onnx file of any exporter, a directory that holds
    one, or a checkpoint, which is exported for this and compared with itself in PyTorch. Every row
    runs in a process of its own; the rows of one size take turns. A row that fails is a result.

    `birefnet bench report DIR` writes the documents of a run anew; `birefnet bench compare A B`
    puts two runs side by side.
    """
    if min_iou is not None and calibrate is None:
        raise click.UsageError("--min-iou judges the images of --calibrate; give both")
    from ..bench.exports import Exporting
    from ..bench.measure.process import Limits
    from ..bench.models import Request
    from ..bench.previews import image_files
    from ..bench.run import Run, Setting
    from ..report.markdown import summary_table
    from .report import write_documents

    request = Request(
        models=models,
        against=against,
        pytorch=pytorch,
        providers=providers,
        lowerings=lowerings,
        precisions=precisions,
        exporting=Exporting(calibrate, min_iou),
        trust_remote_code=trust_remote_code,
        backends=backends,
        fetching=fetching,
    )
    setting = Setting(
        sizes=sizes or (),
        batches=batches,
        threads=threads or (usable_cores(),),
        seconds=seconds,
        limits=Limits(timeout, max_memory),
        images=image_files(images),
        notes=notes,
    )
    run = Run(directory, ("birefnet", *sys.argv[1:]), lambda line: click.echo(line, err=True))
    try:
        found = run.measure(request, setting)
    except KeyboardInterrupt:
        run.interrupted()
        raise
    click.echo(summary_table(found))
    for file in write_documents(directory):
        click.echo(f"birefnet: {file}", err=True)
