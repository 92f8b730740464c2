"""`birefnet warm`."""

import time
from pathlib import Path

import click
from birefnet_models.text import format_seconds

from ...errors import ProviderError
from ...model.input_size import Size
from ...session.compiled import compile_ahead
from ...session.memory_limit import SETTINGS, Memory
from ...session.open import open_session
from ...session.providers import Cpu, TensorRT, parse_providers
from ...session.tensorrt.optimization_profile import describe
from ..fetching import located
from ..options import memory_option, read_sizes, verbose_option


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
    help="tensorrt, tensorrt:fp16 for half precision, tensorrt:1 for another GPU; or cpu.",
)
@memory_option
@verbose_option
def warm(
    model: str,
    sizes: tuple[Size, ...],
    batch: int,
    provider: str,
    memory: Memory,
    verbose: bool,
) -> None:
    """Build the TensorRT engine of MODEL ahead, or its compiled form for the CPU.

    MODEL is what `birefnet cutout --model` takes. So no user waits for what is built once.

    An engine is built for this GPU and these versions, for all sizes between the smallest and the
    largest that are named; its answer is compared with the CPU's before it is kept. Where one that
    serves is there already, nothing is built. A compiled form is the graph as ONNX Runtime
    optimizes it for this processor; it is kept if it answers exactly as the graph, and serves all
    sizes.
    """
    started = time.perf_counter()
    match parse_providers(provider, SETTINGS[memory]):
        case (TensorRT() as record,):
            ready = _engine(located(model), record, sizes, batch, verbose=verbose)
        case (Cpu() as record,):
            compile_ahead(located(model), record)
            ready = "on the CPU"
        case _:
            raise ProviderError(
                f"only tensorrt and cpu build ahead; for {provider} nothing is to be done"
            )
    took = format_seconds(time.perf_counter() - started)
    click.echo(f"birefnet: {model} is ready {ready} ({took})")


def _engine(
    path: Path, record: TensorRT, sizes: tuple[Size, ...], batch: int, *, verbose: bool
) -> str:
    """Build an engine, and say what it is for."""
    session = open_session(path, providers=record, sizes=sizes, batch=batch, verbose=verbose)
    opened = session.info.provider
    profile = opened.profile if isinstance(opened, TensorRT) else None
    if profile is None:
        raise ProviderError("the session opened without an engine")
    return f"for batches of {describe(profile)}"
