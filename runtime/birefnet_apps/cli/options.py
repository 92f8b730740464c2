"""Options that several commands share."""

import io
from collections.abc import Callable
from functools import wraps
from typing import IO, Any, TypeAlias, TypeVar

import click
from birefnet_models.base.errors import BirefnetError
from birefnet_runtime.cutout.foreground import ESTIMATORS
from birefnet_runtime.cutout.mask import parse_clean
from birefnet_runtime.model.size import Size, parse_size
from birefnet_runtime.segmenter import Opening
from birefnet_runtime.session.memory import DEFAULT, SETTINGS, parse_bytes
from birefnet_runtime.session.providers import parse_providers

from ..storage import Location, RemotePath, file_at, is_url, parse_location

# Paths and URLs as arguments of commands.


class LocationType(click.ParamType):  # type: ignore[type-arg]  # not generic in click 8.3
    """A path of this machine, or the URL of an object store."""

    name = "path or URL"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Location:
        return parse_location(value)


class ListType(click.File):
    """A file that is opened, standard input, or an object that is read whole."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> IO[Any]:
        if not isinstance(value, str) or not is_url(value):
            return super().convert(value, param, ctx)
        place = parse_location(value)
        if not isinstance(place, RemotePath):
            return super().convert(str(place), param, ctx)
        content = file_at(place).read()
        assert isinstance(content, bytes)
        return io.BytesIO(content)


Value = TypeVar("Value")
Callback: TypeAlias = Callable[[click.Context, click.Parameter, str | None], Value | None]


def parsed(parse: Callable[[str], Value]) -> Callback[Value]:
    """The callback of an option whose text `parse` reads; what it refuses is a usage error."""

    def read(_: click.Context, __: click.Parameter, text: str | None) -> Value | None:
        try:
            return None if text is None else parse(text)
        except BirefnetError as error:
            raise click.BadParameter(str(error)) from error

    return read


def read_sizes(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> tuple[Size, ...]:
    """The callback of an option that may be given several times."""
    try:
        return tuple(parse_size(text) for text in texts)
    except BirefnetError as error:
        raise click.BadParameter(str(error)) from error


read_size = parsed(parse_size)
read_bytes = parsed(parse_bytes)

size_option = click.option(
    "--size",
    metavar="SIZE",
    callback=read_size,
    help="The network's size: N, HxW (height first) or auto (the image's aspect ratio). "
    "By default the size that the model was trained at.",
)

threads_option = click.option(
    "--threads",
    metavar="N",
    type=click.IntRange(1, 1024),
    help="By default as many as there are usable cores.",
)

batch_option = click.option(
    "--batch",
    metavar="N",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Images that may go through the network at once; GPUs gain from it, CPUs don't.",
)

foreground_option = click.option(
    "--foreground",
    metavar="HOW",
    type=click.Choice(ESTIMATORS),
    default="blur",
    show_default=True,
    help="How the subject's own colors are estimated where it is partly transparent, so that no "
    "halo of the old background stays: blur, pymatting, or none to leave the picture's.",
)

clean_option = click.option(
    "--clean",
    metavar="WHAT",
    callback=parsed(parse_clean),
    help="Out of the mask: specks and holes of up to 0.5% of the subject's area (specks), of "
    "another share (1%), or all but the main subject (main).",
)

provider_option = click.option(
    "--provider",
    metavar="NAMES",
    default="auto",
    show_default=True,
    callback=parsed(parse_providers),
    help="What to run on: cpu, cuda, tensorrt, openvino, auto, or what else ONNX Runtime has: "
    "coreml, directml, migraphx, qnn, webgpu, ... Several, as cuda,cpu: the next one is taken if "
    "the one before can't run; else that is an error. Behind a colon there may be a GPU's number "
    "or a precision, as cuda:1, tensorrt:fp16, openvino:bf16; of the others `fixed` (one size) and "
    "their own options, as coreml:fixed:ModelFormat=MLProgram,MLComputeUnits=ALL.",
)

memory_option = click.option(
    "--memory",
    type=click.Choice(list(SETTINGS)),
    show_default=DEFAULT,
    help="Settings of the CPU, by how much memory they take.",
)

max_memory_option = click.option(
    "--max-memory",
    metavar="AMOUNT",
    callback=read_bytes,
    help="Stay below this with model and pictures, as 800MB or 1GB: without --memory the settings, "
    "without --size the size, and how many pictures are under way follow from it.",
)

compiled_option = click.option(
    "--compiled/--no-compiled",
    default=True,
    envvar="BIREFNET_COMPILED",
    help="Open a model on the CPU in the form that ONNX Runtime optimized it to for this "
    "processor, which the cache keeps from the first time on (the default), or as it is.",
)

verbose_option = click.option(
    "--verbose", "-v", is_flag=True, help="Show ONNX Runtime's own log lines, too."
)


def opening_options(command: Callable[..., None]) -> Callable[..., None]:
    """All options that say how a model is opened; the command gets them as `opening`."""

    @wraps(command)
    def packed(**given: Any) -> None:
        given["providers"] = given.pop("provider")
        before = click.get_current_context().find_root().params
        given["compiled"] &= not before.get("no_compiled", False)
        command(
            opening={name: given.pop(name) for name in {*given} & {*Opening.__annotations__}},
            **given,
        )

    options = (size_option, threads_option, provider_option, memory_option, max_memory_option)
    for option in reversed((*options, compiled_option, verbose_option)):
        packed = option(packed)
    return packed
