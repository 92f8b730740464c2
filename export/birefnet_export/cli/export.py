"""`birefnet export`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from birefnet_models.base.onnx_file import read_onnx
from birefnet_models.base.text import did_you_mean, format_size
from birefnet_models.pins import FetchOptions
from birefnet_runtime.model.metadata import unstated_size_note

from ..export import export_precisions
from ..graph.lowering import LOWERINGS
from ..options import DEFAULT_LOWERING, OPSETS, PRECISIONS, EndToEndReport, ExportReport
from ..precision.request import DEFAULT_MIN_IOU
from ..verify.quality import Quality
from .fetch_options import fetching_options, multi_scale_option

if TYPE_CHECKING:
    from ..publish.push import Destination


def _read_size(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """`N` or `HxW` as height and width."""
    if text is None:
        return None
    height, times, width = text.lower().partition("x")
    try:
        return int(height), int(width if times else height)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a size; give N or HxW, height first") from error


def _read_precisions(_: click.Context, __: click.Parameter, text: str) -> tuple[str, ...]:
    """`fp32,int8` as its parts, each once."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if unknown := [name for name in names if name not in PRECISIONS]:
        hint = did_you_mean(unknown[0], PRECISIONS)
        raise click.BadParameter(
            f"{unknown[0]!r} is unknown; choose from {', '.join(PRECISIONS)}{hint}"
        )
    return names


@click.command(epilog="Example: birefnet export lite")
@click.argument("checkpoint")
@click.option(
    "--output",
    "-o",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory for onnx/model.onnx, config.json and preprocessor_config.json. By default the "
    "model's place in the cache, where `cutout --model NAME` finds it.",
)
@click.option(
    "--name", metavar="NAME", help="Name in the cache. By default the zoo's or the repository's."
)
@click.option(
    "--opset",
    type=click.IntRange(OPSETS[0], OPSETS[-1]),
    default=None,
    help="ONNX operator set. By default the lowering's own: "
    + ", ".join(f"{lowering.name} {lowering.default_opset}" for lowering in LOWERINGS.values())
    + ".",
)
@click.option(
    "--lowering",
    type=click.Choice(list(LOWERINGS)),
    default=None,
    help="How deformable convolutions are written: native for GPUs, rows for little memory, "
    f"gridsample for runtimes without DeformConv. By default {DEFAULT_LOWERING}; native with fp16.",
)
@click.option(
    "--precision",
    "precisions",
    callback=_read_precisions,
    metavar="|".join(PRECISIONS),
    default=PRECISIONS[0],
    show_default=True,
    help="One, or several by commas, made in one run. fp16, for GPUs, is written to "
    "onnx/model_fp16.onnx, int8, for CPUs, to onnx/model_quantized.onnx; input and output stay "
    "float32.",
)
@click.option(
    "--calibrate",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="A folder of images like those to come. With int8 convolutions are then quantized too; "
    "fp16's head-room is measured on them. Masks are compared with fp32's.",
)
@click.option(
    "--min-iou",
    metavar="IOU",
    type=click.FloatRange(0, 1),
    default=None,
    help="Refuse int8 if the masks of these images keep less than this mean IoU with fp32's.  "
    f"[default: {DEFAULT_MIN_IOU}]",
)
@click.option(
    "--trained-size",
    callback=_read_size,
    metavar="SIZE",
    help="Size the checkpoint was trained at, N or HxW. Default: what the zoo or a "
    "preprocessor_config.json beside it says.",
)
@multi_scale_option
@click.option(
    "--external-data",
    is_flag=True,
    help="Write the weights beside the graph, to onnx/model.onnx_data: mapped into memory, not "
    "copied.",
)
@click.option(
    "--end-to-end",
    is_flag=True,
    help="Write onnx/model_end_to_end.onnx as well: pixels of any size in, alpha of that size out, "
    "with the network at its trained size inside. For browsers and other languages.",
)
@click.option(
    "--verify/--no-verify",
    default=True,
    show_default=True,
    help="Compare ONNX Runtime with NumPy's float64 before the file gets its name.",
)
@click.option(
    "--push",
    metavar="OWNER/NAME",
    help="Put the verified export onto the hub, with a model card. Needs a login (HF_TOKEN or `hf "
    "auth login`), which is asked for first.",
)
@click.option("--private", is_flag=True, help="For --push: only into a private repository.")
@fetching_options
@click.option(
    "--json", "as_json", is_flag=True, help="Print the report, with all files, as one line of JSON."
)
def export(
    checkpoint: str,
    directory: Path | None,
    name: str | None,
    opset: int | None,
    lowering: str | None,
    precisions: tuple[str, ...],
    calibrate: Path | None,
    min_iou: float | None,
    trained_size: tuple[int, int] | None,
    multi_scale: str | None,
    external_data: bool,
    end_to_end: bool,
    verify: bool,
    push: str | None,
    private: bool,
    fetching: FetchOptions,
    as_json: bool,
) -> None:
    """Turn a BiRefNet CHECKPOINT into one ONNX file for any batch and size.

    CHECKPOINT is a name from `birefnet models`, a repository of the hub (OWNER/NAME@REVISION), the
    URL of a file, a .safetensors or .pth file, or a directory that holds model.safetensors. What is
    fetched is pinned in a lock file, and from then on the pin is what loads. Only tensors are read,
    no code is run; the architecture is read off the tensors.
    """
    if push and len(precisions) > 1 and directory is None:
        raise click.UsageError("--push wants several precisions in one directory; give --output")
    destination = _destination(push, private, verify)
    reports = export_precisions(
        checkpoint,
        directory,
        precisions,
        opset=opset,
        lowering=lowering,
        verify=verify,
        trained_size=trained_size,
        external_data=external_data,
        name=name,
        fetching=fetching,
        calibrate=calibrate,
        min_iou=min_iou,
        multi_scale=multi_scale,
        end_to_end=end_to_end,
    )
    pushed = _push(reports[0], destination, fetching) if destination else None
    if note := unstated_size_note(read_onnx(reports[0].file).properties):
        click.echo(f"birefnet: {note}", err=True)
    if as_json:
        click.echo(json.dumps(_as_json(reports) | {"pushed": pushed}))
        return
    for report in reports:
        click.echo("\n".join(_lines(report)))
    if destination:
        click.echo(f"pushed: {pushed}; birefnet cutout --model {destination.repo} takes it")


def _as_json(reports: Sequence[ExportReport]) -> dict[str, Any]:
    """One report as it is; of several the files of all, and each report."""
    if len(reports) == 1:
        return reports[0].to_dict()
    each = [report.to_dict() for report in reports]
    return {"files": [file for report in each for file in report["files"]], "reports": each}


def _destination(push: str | None, private: bool, verify: bool) -> Destination | None:
    """Where the export is to be pushed; refused before anything is made."""
    if push is None:
        if private:
            raise click.UsageError("--private says how to --push; give OWNER/NAME")
        return None
    if not verify:
        raise click.UsageError("--push takes verified exports alone; leave --no-verify out")
    from ..publish.push import checked_destination

    return checked_destination(push, private=private)


def _push(report: ExportReport, destination: Destination, fetching: FetchOptions) -> str:
    from ..publish.push import push

    return push(report.directory, destination, fetching.say)


def _lines(report: ExportReport) -> Iterator[str]:
    """The report as lines of text."""
    yield (
        f"{report.file}: {report.arch.backbone.name}, opset {report.opset}, lowering "
        f"{report.lowering}, {report.precision}, {report.nodes} nodes, "
        f"{report.file_bytes / 1e6:.1f} MB"
    )
    yield "any batch; height and width any multiples of 32"
    if report.parity:
        cases = ", ".join(map(format_size, report.parity.cases))
        yield f"against {report.parity.reference} at {cases}:"
        yield from (f"  {line}" for line in report.parity.lines())
    else:
        yield "not compared with the checkpoint"
    if report.end_to_end:
        yield from _end_to_end(report.end_to_end)
    if report.name:
        yield f"use it as: birefnet cutout --model {report.name}"
    if report.precision == "int8" or report.quality:
        yield from _quality(report.quality)
    if report.headroom:
        yield from report.headroom.lines()
    yield f"{len(report.warnings)} warnings; built, not traced"
    yield from (f"  {text}" for text in report.warnings)
    peak = report.peak_rss_bytes
    yield (
        f"{report.build_s:.1f} s to build, {report.verify_s:.1f} s to write and verify"
        + (f", {peak / 1e9:.1f} GB at most" if peak is not None else "")
    )


def _end_to_end(report: EndToEndReport) -> Iterator[str]:
    """The further file, and how near it is to the runtime."""
    yield (
        f"{report.file}: pixels to alpha, with the network at {format_size(report.size)}, "
        f"{report.file_bytes / 1e6:.1f} MB"
    )
    if parity := report.parity:
        yield (
            f"  masks differ from the runtime's by {parity.max_levels} levels of 255 at most, "
            f"{parity.mean_levels:.1e} on average, at {', '.join(map(format_size, parity.cases))}"
        )


def _quality(quality: Quality | None) -> Iterator[str]:
    """What a precision does to the masks of photographs."""
    if quality is None:
        yield "masks not compared with fp32's, convolutions not quantized: no --calibrate FOLDER"
        return
    yield (
        f"masks against fp32's on {quality.images} images at {format_size(quality.size)}: "
        f"IoU {quality.iou_mean:.4f} (worst {quality.iou_min:.4f}), "
        f"MAE {quality.mae_mean:.5f} (worst {quality.mae_max:.5f}), "
        f"largest {quality.max_abs:.3f}"
    )
    if quality.excluded:
        yield f"  not quantized, because sensitive: {', '.join(quality.excluded)}"
