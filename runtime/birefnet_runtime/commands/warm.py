"""`birefnet warm`."""

import time

import click
from birefnet_models.errors import BirefnetError

from ..errors import ProviderError
from ..locate import find_model
from ..providers import TensorRT
from ..providers.profiles import describe
from ..session import open_session
from ..sizing import Size, parse_size
from ..units import format_seconds
from .options import verbose_option


def _read_sizes(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> tuple[Size, ...]:
    try:
        return tuple(parse_size(text) for text in texts)
    except BirefnetError as error:
        raise click.BadParameter(str(error)) from error


@click.command(epilog="Example: birefnet warm lite-onnx --size 1024 --size 512x1024 --fp16")
@click.argument("model")
@click.option(
    "--size",
    "sizes",
    metavar="SIZE",
    multiple=True,
    callback=_read_sizes,
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
@click.option("--fp16", is_flag=True, help="Compute in half precision.")
@click.option("--device", metavar="ID", type=click.IntRange(min=0), default=0, show_default=True)
@verbose_option
def warm(
    model: str, sizes: tuple[Size, ...], batch: int, fp16: bool, device: int, verbose: bool
) -> None:
    """Build the TensorRT engine of MODEL ahead, so that no user waits for it.

    An engine is built for this GPU and these versions, for all sizes between the smallest and the
    largest that are named; its answer is compared with the CPU's before it is kept. Where one that
    serves is there already, nothing is built.
    """
    started = time.perf_counter()
    record = TensorRT(fp16=fp16, device_id=device)
    session = open_session(
        find_model(model), providers=record, sizes=sizes, batch=batch, verbose=verbose
    )
    found = session.opening.provider
    if not isinstance(found, TensorRT) or found.profile is None:
        raise ProviderError("TensorRT opened without a profile")
    took = format_seconds(time.perf_counter() - started)
    click.echo(f"birefnet: {model} is ready for batches of {describe(found.profile)} ({took})")
