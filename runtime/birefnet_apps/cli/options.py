"""Options that several commands share."""

import io
import math
import re
from collections.abc import Callable
from functools import wraps
from typing import IO, Any, TypeAlias, TypeVar

import click
from birefnet_models.base.errors import BirefnetError
from birefnet_runtime.cutout.foreground import ESTIMATORS
from birefnet_runtime.cutout.layout import Canvas, parse_padding, parse_place, parse_shape
from birefnet_runtime.cutout.mask import parse_clean
from birefnet_runtime.errors import ImageError, OutputError
from birefnet_runtime.model.size import Size, parse_size
from birefnet_runtime.segmenter import Opening
from birefnet_runtime.session.memory import DEFAULT, SETTINGS, parse_bytes
from birefnet_runtime.session.providers import parse_providers
from click.shell_completion import CompletionItem

from ..files.jobs import Shard
from ..storage import Location, RemotePath, file_at, is_url, parse_location
from .terminal import say


class LocationType(click.ParamType):  # type: ignore[type-arg]  # not generic in click 8.3
    """A path of this machine, or the URL of an object store."""

    name = "path or URL"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Location:
        return parse_location(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


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
    "another share (1%), or everything except the main subject (main).",
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


def parse_pixels(text: str) -> int:
    number = text.lower().removesuffix("p").removesuffix("m")
    count = int(number) if number.isdecimal() and len(number) < 13 else 0
    if not count:
        raise ImageError(f"{text!r} is not a number of pixels; give 200M or 200000000")
    return count if number == text else count * 1_000_000


def parse_margin(text: str) -> float:
    found = re.fullmatch(r"([0-9]{1,4}(?:\.[0-9]{1,4})?)%", text)
    if found is None or float(found[1]) > 1000:
        raise OutputError(f"{text[:40]!r} is not a margin of up to 1000%; give 5% or 10%")
    return float(found[1]) / 100


def parse_canvas(text: str) -> Canvas:
    """Read `SHAPE`, `SHAPE,PADDING` or `SHAPE,PADDING,POSITION`."""
    shape, *rest = (part.strip() for part in text.split(","))
    if len(rest) > 2:
        raise OutputError(f"{text[:40]!r} has more parts than SHAPE,PADDING,POSITION")
    canvas = Canvas(parse_shape(shape))
    if rest:
        canvas = Canvas(canvas.shape, parse_padding(rest[0]))
    return Canvas(canvas.shape, canvas.padding, parse_place(rest[1])) if rest[1:] else canvas


def parse_shard(text: str) -> Shard:
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise OutputError(f"{text[:40]!r} is not a part; give I/N, as 1/10 for the first of ten")
    return Shard(int(found[1]), int(found[2]))


def parse_actors(text: str) -> tuple[int | None, float | None, float | None]:
    """Read `4`, `4x2cpu`, `1gpu`: how many, and CPUs or GPUs of each."""
    found = re.fullmatch(
        r"(?:([0-9]{1,6})(?:x(?=.)|$))?(?:([0-9]{1,4}(?:\.[0-9]{1,4})?)(cpu|gpu))?", text
    )
    if (
        found is None
        or not text
        or (found[1] and not int(found[1]))
        or (found[2] and not float(found[2]))
    ):
        raise OutputError(f"{text[:40]!r} is not a number of actors; give 4, 4x2cpu or 0.5gpu")
    each = float(found[2]) if found[2] else None
    count = int(found[1]) if found[1] else None
    return count, each if found[3] == "cpu" else None, each if found[3] == "gpu" else None


def read_again(option: str, parse: Callable[[str], Value], text: str) -> Value:
    """The value of an option that may have been put together of old ones."""
    try:
        return parse(text)
    except BirefnetError as error:
        raise click.BadParameter(str(error), param_hint=f"'{option}'") from error


# Options of `birefnet cutout` as earlier versions spelled them: hidden, each translated into what
# is written now, with a line that says so.

GONE_WITH = "0.5"
_PERCENT = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4})?%")
_USUAL_MARGIN = "5%"


_OLD_OPTIONS = (
    click.Option(["--engine"], hidden=True, type=click.Choice(["local", "ray"])),
    click.Option(["--margin"], hidden=True, type=click.FloatRange(min=0, max=1000)),
    click.Option(["--padding"], hidden=True),
    click.Option(["--position"], hidden=True),
    click.Option(["--strip"], hidden=True, is_flag=True),
    click.Option(["--keep-gps"], hidden=True, is_flag=True),
    click.Option(["--cpus-per-actor"], hidden=True, type=click.FloatRange(min=1)),
    click.Option(["--gpus-per-actor"], hidden=True, type=click.FloatRange(min=0, min_open=True)),
)


def _translate(given: dict[str, Any], old: dict[str, Any]) -> None:
    """Put what old options say into the parameters that the command has."""
    if old["engine"] is not None:
        _tell("--engine", f"--on {old['engine']}")
        given["place"] = old["engine"]
    if (margin := old["margin"]) is not None:
        if math.isnan(margin):
            raise click.BadParameter("nan is not a number of percent", param_hint="'--margin'")
        _tell("--margin", f"--crop {margin:g}%")
        if given["crop"] is not None:
            given["crop"] = margin / 100
    for name, metadata in (("strip", "strip"), ("keep_gps", "gps")):
        if old[name]:
            _tell(f"--{name.replace('_', '-')}", f"--metadata {metadata}")
            given["metadata"] = metadata
    padding, position = old["padding"], old["position"]
    if padding is not None or position is not None:
        if given["canvas"] is None:
            raise click.UsageError(
                "padding and position are of a canvas; give --canvas SHAPE,PADDING,POSITION"
            )
        parts = [given["canvas"], padding or _USUAL_MARGIN, *([position] if position else ())]
        given["canvas"] = ", ".join(parts)
        _tell("--padding and --position", f"--canvas '{given['canvas']}'")
    cpus, gpus = old["cpus_per_actor"], old["gpus_per_actor"]
    if cpus and gpus:
        raise click.UsageError("an actor is given CPUs or GPUs; leave one of the two out")
    if cpus or gpus:
        count, each = given["actors"], f"{cpus:g}cpu" if cpus else f"{gpus:g}gpu"
        given["actors"] = f"{count}x{each}" if count else each
        _tell("--cpus-per-actor and --gpus-per-actor", f"--actors {given['actors']}")


def _tell(old: str, new: str) -> None:
    say(f"{old} is written {new} now; the old spelling goes with version {GONE_WITH}")


class CutoutCommand(click.Command):
    """A command that takes old options, too, and a margin behind `--crop` or none: `--crop 10%`."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.params += _OLD_OPTIONS

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the usual margin behind a `--crop` that has none, before click looks for one."""
        given: list[str] = []
        end = args.index("--") if "--" in args else len(args)
        for place, argument in enumerate(args[:end]):
            given.append(argument)
            following = args[place + 1] if place + 1 < len(args) else ""
            if argument == "--crop" and not _PERCENT.fullmatch(following):
                given[-1] = f"--crop={_USUAL_MARGIN}"
        rest = super().parse_args(ctx, given + args[end:])
        old = {str(option.name): ctx.params.pop(str(option.name)) for option in _OLD_OPTIONS}
        if any(value not in {None, False} for value in old.values()):
            _translate(ctx.params, old)
        if ctx.params["premultiply"]:
            say(f"--premultiply goes with version {GONE_WITH}; Style(premultiply=True) stays")
        return rest
