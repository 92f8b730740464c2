"""`birefnet triton`."""

from pathlib import Path

import click
from birefnet_runtime.model.input_size import Size

from ...triton.config import ENGINES, RELEASE, Serving
from ...triton.repository import write_repository
from ..fetching import located
from ..options import read_sizes


@click.command(epilog="Example: birefnet triton lite --output models --warmup 1024")
@click.argument("model")
@click.option(
    "--output",
    "-o",
    "repository",
    metavar="REPOSITORY",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The model repository; made if it isn't there. Other models in it stay.",
)
@click.option(
    "--name",
    metavar="NAME",
    help="Of the model in the repository. By default the one that its file states, or its "
    "folder's.",
)
@click.option(
    "--max-batch",
    metavar="N",
    type=click.IntRange(1, 1024),
    default=8,
    show_default=True,
    help="Most images in one run; only those of one size are joined.",
)
@click.option(
    "--instances",
    metavar="N",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Copies of the model that run at the same time, on each GPU or on the CPU.",
)
@click.option(
    "--tensorrt",
    is_flag=True,
    help="Let TensorRT run it within ONNX Runtime: one engine for all sizes from the smallest to "
    "the largest --warmup, by default the trained size alone.",
)
@click.option(
    "--warmup",
    metavar="SIZE",
    multiple=True,
    callback=read_sizes,
    help="Run this size once before the model counts as ready: N, HxW, or auto. May be given "
    "several times, the most frequent first.",
)
def triton(
    model: str,
    repository: Path,
    name: str | None,
    max_batch: int,
    instances: int,
    tensorrt: bool,
    warmup: tuple[Size, ...],
) -> None:
    """Write a model repository for NVIDIA's Triton Inference Server, 26.07 or later.

    MODEL is what `cutout --model` takes. Where a file from pixels to alpha lies beside it, written
    by `birefnet export --end-to-end`, NAME-pixels is a second model in the repository.
    """
    serving = Serving(max_batch, instances, tensorrt, warmup)
    for folder in write_repository(located(model), repository, serving, name):
        click.echo(f"birefnet: {folder} is ready for Triton {RELEASE} or later")
    if tensorrt:
        click.echo(f"birefnet: mount a volume at {ENGINES}, where engines are kept")
