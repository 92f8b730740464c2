"""`birefnet verify`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from math import inf
from typing import TYPE_CHECKING

import click

from .fetch import Fetching
from .fetch_options import fetching_options

if TYPE_CHECKING:
    from .against import Agreement


@click.command(epilog="Example: birefnet verify lite --against lite")
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
    help="Largest difference of logits that passes. By default what an export must keep: 1e-4 in "
    "fp32.",
)
@fetching_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def verify(
    model: str,
    reference: str,
    trust_remote_code: bool,
    tolerance: float | None,
    fetching: Fetching,
    as_json: bool,
) -> None:
    """Run MODEL and a REFERENCE in PyTorch on the same tensors, and compare.

    MODEL is a name from `birefnet models`, an .onnx file, or a directory that holds one, ours or
    another exporter's. The exit code is 1 where they differ by more than the tolerance.
    """
    from .against import verify_against

    agreement = verify_against(
        model,
        reference,
        trust_remote_code=trust_remote_code,
        tolerance=tolerance,
        fetching=fetching,
    )
    text = json.dumps(agreement.to_dict(), indent=2) if as_json else "\n".join(_lines(agreement))
    click.echo(text)
    if not agreement.passed:
        raise click.exceptions.Exit(1)


def _lines(agreement: Agreement) -> Iterator[str]:
    parity = agreement.parity
    yield f"{agreement.model} against {parity.reference}, {parity.runtime}"
    yield f"at {', '.join('x'.join(map(str, case)) for case in parity.cases)}:"
    yield from (f"  {line}" for line in parity.lines())
    allowed = ", ".join(
        f"{name.replace('_', ' ')} {value:.0e}"
        for name, value in asdict(agreement.tolerance).items()
        if value < inf
    )
    yield f"NOT equal: {agreement.problem}" if agreement.problem else f"equal: within {allowed}"
