"""`birefnet warm`."""

import time
from pathlib import Path

import click
from birefnet_models.base.text import format_seconds
from birefnet_runtime.errors import ProviderError
from birefnet_runtime.model.locate import ModelFile
from birefnet_runtime.model.size import Size
from birefnet_runtime.session.compiled import compile_ahead
from birefnet_runtime.session.memory import DEFAULT, SETTINGS, Memory
from birefnet_runtime.session.open import open_session
from birefnet_runtime.session.providers import (
    Cpu,
    Named,
    TensorRT,
    describe_profile,
    parse_providers,
)

from ..triton import ENGINES, TRITON_RELEASE, Serving, check_server, model_name, write_repository
from .options import memory_option, read_sizes, verbose_option
from .terminal import located

# `birefnet triton`.


@click.command(epilog="Example: birefnet triton lite --output models --warmup 1024")
@click.argument("model")
@click.option(
    "--output",
    "-o",
    "repository",
    metavar="REPOSITORY",
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
@click.option(
    "--check",
    "server",
    metavar="URL",
    help="Ask a running server for the model's known answer instead, as http://localhost:8000, and "
    "say whether it is right.",
)
def triton(
    model: str,
    repository: Path | None,
    name: str | None,
    max_batch: int,
    instances: int,
    tensorrt: bool,
    warmup: tuple[Size, ...],
    server: str | None,
) -> None:
    """Write a model repository for NVIDIA's Triton Inference Server, 26.07 or later.

    MODEL is what `cutout --model` takes. Where a file from pixels to alpha lies beside it, written
    by `birefnet export --end-to-end`, NAME-pixels is a second model in the repository.
    """
    if (repository is None) == (server is None):
        raise click.UsageError("give --output for a model repository, or --check for a server")
    if server is not None:
        found = located(model)
        off = check_server(server, name or model_name(found), found)
        parts = ", ".join(f"{what} off by {each.largest:.2g}" for what, each in off.items())
        click.echo(f"birefnet: {server} answers right ({parts})")
        return
    assert repository is not None
    if len(repository.parts[0]) > 2 and repository.parts[0].endswith(":"):  # s3://…
        raise click.UsageError("--output is a folder here; copy it to the object store then")
    serving = Serving(max_batch, instances, tensorrt, warmup)
    for folder in write_repository(located(model), repository, serving, name):
        click.echo(f"birefnet: {folder} is ready for Triton {TRITON_RELEASE} or later")
    if tensorrt:
        click.echo(f"birefnet: mount a volume at {ENGINES}, where engines are kept")


@click.command(epilog="Example: birefnet warm lite-onnx --size 1024 --size 512x1024")
@click.argument("model")
@click.option(
    "--size",
    "sizes",
    metavar="SIZE",
    multiple=True,
    callback=read_sizes,
    help="What will be asked for, the most frequent first: N, HxW or auto. By default the size "
    "that the model was trained at.",
)
@click.option(
    "--batch",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="The largest number of images in one run.",
)
@click.option(
    "--provider",
    metavar="NAME",
    default="tensorrt",
    show_default=True,
    help="tensorrt, tensorrt:fp16 for half precision, tensorrt:1 for another GPU; cpu; or another "
    "provider with its options, as `cutout --provider` takes it.",
)
@memory_option
@verbose_option
def warm(
    model: str,
    sizes: tuple[Size, ...],
    batch: int,
    provider: str,
    memory: Memory | None,
    verbose: bool,
) -> None:
    """Do in advance what MODEL's first opening on a provider takes, so that no user waits.

    MODEL is what `birefnet cutout --model` takes. For TensorRT that is building an engine, for the
    CPU the compiled form. What coreml, directml, webgpu and others answer is compared with the
    CPU's once on each machine.

    An engine is built for this GPU and these versions, for all sizes between the smallest and the
    largest that are named; its answer is compared with the CPU's before it is kept. Where one that
    serves is there already, nothing is built. A compiled form is the graph as ONNX Runtime
    optimizes it for this processor; it is kept if it answers exactly as the graph, and serves all
    sizes.
    """
    started = time.perf_counter()
    match parse_providers(provider, SETTINGS[memory or DEFAULT]):
        case (Cpu() as record,):
            compile_ahead(located(model), record)
            ready = "is ready on the CPU"
        case (Named() as record,):
            open_session(
                located(model), providers=record, sizes=sizes, batch=batch, verbose=verbose
            )
            ready = f"answers on {record.name} as on the CPU"
        case (TensorRT() as record,):
            ready = _engine(located(model), record, sizes, batch, verbose=verbose)
        case _:
            raise ProviderError(
                f"only one provider is warmed, and of {provider} nothing can be done in advance"
            )
    took = format_seconds(time.perf_counter() - started)
    click.echo(f"birefnet: {model} {ready} ({took})")


def _engine(
    model: ModelFile, record: TensorRT, sizes: tuple[Size, ...], batch: int, *, verbose: bool
) -> str:
    """Build an engine, and say what it is for."""
    session = open_session(model, providers=record, sizes=sizes, batch=batch, verbose=verbose)
    opened = session.info.provider
    profile = opened.profile if isinstance(opened, TensorRT) else None
    if profile is None:
        raise ProviderError("the session opened without an engine")
    return f"is ready for batches of {describe_profile(profile)}"
