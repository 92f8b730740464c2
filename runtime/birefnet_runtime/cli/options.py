"""Options that several commands share."""

import click

from ..errors import MemoryLimitError, ProviderError, SizeError
from ..model.input_size import Size, parse_size
from ..session.memory_limit import DEFAULT, SETTINGS, parse_bytes
from ..session.providers import parse_providers


def read_size(_: click.Context, __: click.Parameter, text: str | None) -> Size:
    """The callback of `--size`."""
    try:
        return None if text is None else parse_size(text)
    except SizeError as error:
        raise click.BadParameter(str(error)) from error


def _check(_: click.Context, __: click.Parameter, text: str) -> str:
    try:
        parse_providers(text)
    except ProviderError as error:
        raise click.BadParameter(str(error)) from error
    return text


provider_option = click.option(
    "--provider",
    metavar="NAMES",
    default="auto",
    show_default=True,
    callback=_check,
    help="What to run on: cpu, cuda, tensorrt, openvino or auto. Several, as cuda,cpu: the next "
    "one is taken if the one before can't run; else that is an error. Behind a colon there may be "
    "a GPU's number or a precision, as cuda:1, tensorrt:fp16, openvino:bf16.",
)

memory_option = click.option(
    "--memory",
    type=click.Choice(list(SETTINGS)),
    default=DEFAULT,
    show_default=True,
    help="Settings of the CPU, by how much memory they take.",
)


def read_bytes(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    """The callback of `--max-memory`."""
    try:
        return None if text is None else parse_bytes(text)
    except MemoryLimitError as error:
        raise click.BadParameter(str(error)) from error


max_memory_option = click.option(
    "--max-memory",
    metavar="AMOUNT",
    callback=read_bytes,
    help="Stay below this, as 800MB or 1GB: settings and, without --size, the size follow from it.",
)

verbose_option = click.option(
    "--verbose", "-v", is_flag=True, help="Show ONNX Runtime's own log lines, too."
)
