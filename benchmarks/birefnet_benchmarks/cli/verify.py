"""`birefnet verify`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from birefnet_export.cli.fetch_options import fetching_options, multi_scale_option
from birefnet_models.base.text import format_size
from birefnet_models.pins import FetchOptions

from ..pytorch.remote_source import REMOTE_PREFIX, consented_source

if TYPE_CHECKING:
    from birefnet_export.verify.compare_models import (
        GraphComparison,
        ImageComparison,
        ModelComparison,
    )
    from birefnet_export.verify.reference import OpenReference


@click.command(epilog="Example: birefnet verify lite --against lite --image photo.jpg")
@click.argument("model")
@click.option(
    "--against",
    "reference",
    metavar="REFERENCE",
    required=True,
    help="A checkpoint, as `birefnet export` takes it, or transformers:REPO@REVISION for the "
    "repository's own code, or transformers:DIRECTORY.",
)
@click.option(
    "--pytorch",
    is_flag=True,
    help="Compute a checkpoint in PyTorch instead of NumPy. (Remote code is in PyTorch anyway.)",
)
@click.option(
    "--trust-remote-code",
    is_flag=True,
    help="Run the Python code of a transformers: reference. It can do on this machine all that "
    "you can.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    help="Largest difference of logits on the same tensors that passes. By default what an export "
    "must keep: 1e-4 in fp32.",
)
@click.option(
    "--image",
    "images",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Run both whole pipelines on this image file, too, from the file to the mask at the "
    "image's own size. May be given several times.",
)
@click.option(
    "--layers",
    is_flag=True,
    help="Compare what lies between input and output, too, and name the first layer that differs. "
    "For exports of `birefnet export`.",
)
@multi_scale_option
@fetching_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def verify(
    model: str,
    reference: str,
    pytorch: bool,
    trust_remote_code: bool,
    tolerance: float | None,
    images: tuple[Path, ...],
    layers: bool,
    multi_scale: str | None,
    fetching: FetchOptions,
    as_json: bool,
) -> None:
    """Run MODEL and a REFERENCE on the same tensors and images, and compare.

    MODEL is a name from `birefnet models`, an .onnx file, or a directory that holds one, ours or
    another exporter's. The exit code is 1 where they differ by more than the tolerance.
    """
    from birefnet_export.verify.compare_models import compare_models

    comparison = compare_models(
        model,
        reference,
        images=images,
        layers=layers,
        tolerance=tolerance,
        multi_scale=multi_scale,
        fetching=fetching,
        open_reference=_opener(reference, pytorch, trust_remote_code),
    )
    text = json.dumps(comparison.to_dict(), indent=2) if as_json else "\n".join(_lines(comparison))
    click.echo(text)
    if not comparison.passed:
        raise click.exceptions.Exit(1)


def _opener(reference: str, pytorch: bool, trust_remote_code: bool) -> OpenReference:
    """What opens a reference, of those that PyTorch is needed for without need of it before."""
    remote = reference.startswith(REMOTE_PREFIX)
    if remote:
        consented_source(reference, trust_remote_code)
    elif not pytorch:
        from birefnet_export.verify.reference import open_numpy_reference

        return open_numpy_reference
    from ..pytorch import reference as in_pytorch

    if not remote:
        return in_pytorch.open_pytorch_reference
    return lambda text, _, fetching: in_pytorch.open_remote(text, trust_remote_code, fetching)


def _lines(comparison: ModelComparison) -> Iterator[str]:
    """The comparison as lines of text."""
    if comparison.graph:
        parity = comparison.graph.parity
        shapes = ", ".join(map(format_size, parity.cases))
        yield f"{comparison.model} against {parity.reference}, {parity.runtime}"
        yield f"graph, at {shapes}:"
        yield from _verdict(comparison.graph, comparison.precision)
    else:
        yield f"{comparison.model}, which takes pixels, against {comparison.reference}"
    for image in comparison.images:
        note = f" (upstream ignores {image.ignored})" if image.ignored else ""
        yield f"pipeline, {image.file} at {format_size(image.network_size)}{note}:"
        yield from _verdict(image, comparison.precision)
        yield f"  the model card's 8-bit mask: {image.card_levels:g} levels apart at most"
    if comparison.layers:
        yield f"layers, at {format_size(comparison.layers.case)}:"
        yield from (f"  {line}" for line in comparison.layers.lines())


def _verdict(comparison: GraphComparison | ImageComparison, precision: str) -> Iterator[str]:
    """The differences, and whether they pass: only float32 is called equal."""
    yield from (f"  {line}" for line in comparison.parity.lines())
    allowed = comparison.tolerance.describe()
    if precision == "fp32":
        good, bad = f"equal: within {allowed}", "NOT equal"
    else:
        within = f"within {precision}'s tolerance"
        good, bad = f"{within}: {allowed}", f"NOT {within}"
    yield f"  {bad}: {comparison.problem}" if comparison.problem else f"  {good}"
