"""Options that several commands share."""

import click

from ..errors import ProviderError
from ..providers import parse_providers


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
    "one is taken if the one before can't run; else that is an error.",
)

verbose_option = click.option(
    "--verbose", "-v", is_flag=True, help="Show ONNX Runtime's own log lines, too."
)
