"""`birefnet warm`."""

import time

import click
from birefnet_models.text import format_seconds

from ...errors import ProviderError
from ...model.input_size import Size
from ...session.open import open_session
from ...session.providers import Named, TensorRT, parse_providers
from ...session.tensorrt.optimization_profile import describe
from ..fetching import located
from ..options import read_sizes, verbose_option


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
    help="tensorrt, tensorrt:fp16 for half precision, tensorrt:1 for another GPU; or another "
    "provider with its options, as `cutout --provider` takes it.",
)
@verbose_option
def warm(model: str, sizes: tuple[Size, ...], batch: int, provider: str, verbose: bool) -> None:
    """Do what MODEL's first opening on a provider takes ahead, so that no user waits for it.

    MODEL is what `birefnet cutout --model` takes. For TensorRT that is building an engine. What
    coreml, directml, webgpu and others answer is compared with the CPU's once on each machine.

    An engine is built for this GPU and these versions, for all sizes between the smallest and the
    largest that are named; its answer is compared with the CPU's before it is kept. Where one that
    serves is there already, nothing is built.
    """
    started = time.perf_counter()
    (record, *others) = parse_providers(provider)
    if others or not isinstance(record, TensorRT | Named):
        raise ProviderError(f"only tensorrt builds ahead; for {provider} nothing is to be done")
    session = open_session(
        located(model), providers=record, sizes=sizes, batch=batch, verbose=verbose
    )
    opened = session.info.provider
    took = format_seconds(time.perf_counter() - started)
    if isinstance(opened, Named):
        click.echo(f"birefnet: {model} answers on {opened.name} as on the CPU ({took})")
        return
    profile = opened.profile if isinstance(opened, TensorRT) else None
    if profile is None:
        raise ProviderError("the session opened without an engine")
    click.echo(f"birefnet: {model} is ready for batches of {describe(profile)} ({took})")
