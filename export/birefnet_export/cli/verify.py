"""`birefnet verify`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..checkpoint.fetch import Fetching
from .fetch_options import fetching_options

if TYPE_CHECKING:
    from ..verify.compare_models import Agreement, GraphVerdict, PictureVerdict


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
    help="Compare what lies between input and output, too, and name the first layer that departs. "
    "For exports of `birefnet export`.",
)
@fetching_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def verify(
    model: str,
    reference: str,
    trust_remote_code: bool,
    tolerance: float | None,
    images: tuple[Path, ...],
    layers: bool,
    fetching: Fetching,
    as_json: bool,
) -> None:
    """Run MODEL and a REFERENCE in PyTorch on the same tensors and images, and compare.

    MODEL is a name from `birefnet models`, an .onnx file, or a directory that holds one, ours or
    another exporter's. The exit code is 1 where they differ by more than the tolerance.
    """
    from ..verify.compare_models import verify_against

    agreement = verify_against(
        model,
        reference,
        images=images,
        layers=layers,
        trust_remote_code=trust_remote_code,
        tolerance=tolerance,
        fetching=fetching,
    )
    text = json.dumps(agreement.to_dict(), indent=2) if as_json else "\n".join(_lines(agreement))
    click.echo(text)
    if not agreement.passed:
        raise click.exceptions.Exit(1)


def _lines(agreement: Agreement) -> Iterator[str]:
    parity = agreement.graph.parity
    cases = ", ".join("x".join(map(str, case)) for case in parity.cases)
    yield f"{agreement.model} against {parity.reference}, {parity.runtime}"
    yield f"graph, at {cases}:"
    yield from _verdict(agreement.graph)
    for picture in agreement.pictures:
        note = f" (upstream ignores {picture.ignored})" if picture.ignored else ""
        size = "x".join(map(str, picture.network_size))
        yield f"pipeline, {picture.file} at {size}{note}:"
        yield from _verdict(picture)
    if agreement.departure:
        yield f"layers, at {'x'.join(map(str, agreement.departure.case))}:"
        yield from (f"  {line}" for line in agreement.departure.lines())


def _verdict(verdict: GraphVerdict | PictureVerdict) -> Iterator[str]:
    yield from (f"  {line}" for line in verdict.parity.lines())
    if verdict.problem:
        yield f"  NOT equal: {verdict.problem}"
    else:
        yield f"  equal: within {verdict.tolerance.describe()}"
