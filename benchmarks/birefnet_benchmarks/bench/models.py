"""From models as they are typed to entrants: what is exported, read, and compared with what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from birefnet_export.checkpoint.fetch import DEFAULT_FETCHING, Fetching, fetch
from birefnet_models.cache import MODEL_OF_PRECISION
from birefnet_models.names import CHECKPOINT_SUFFIXES
from birefnet_models.onnx_file import read_onnx
from birefnet_runtime.model.input_size import parse_height_width
from birefnet_runtime.model.locate import find_model
from birefnet_runtime.units import format_seconds

from ..errors import BenchmarkError
from .configurations import Entrant, Way, graph_way, pytorch_way
from .exports import Exporting, export_variant, variants
from .measure.timing import Clock

REMOTE = "transformers:"
DEFAULT_SIZE = (1024, 1024)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be measured, as typed."""

    models: tuple[str, ...]
    against: str | None = None
    """A checkpoint, or `transformers:REPO@REVISION`."""
    pytorch: tuple[str, ...] = ("eager",)
    providers: tuple[str, ...] = ("cpu",)
    lowerings: tuple[str, ...] = ("rows",)
    precisions: tuple[str, ...] | None = None
    """None: fp32 of a checkpoint, and a model as it is."""
    exporting: Exporting = field(default_factory=Exporting)
    trust_remote_code: bool = False
    backends: tuple[str, ...] = ()
    """`MODULE:CLASS` of further backends, which are given the checkpoint, else the model."""
    fetching: Fetching = field(default=DEFAULT_FETCHING)


def entrants(request: Request, scratch: Path, say: Say, clock: Clock) -> tuple[Entrant, ...]:
    """The models that run, one of which each stands for the same answer.

    With a reference all models are one entrant: its ways are compared with the reference. Without,
    each model is an entrant of its own, and a checkpoint its own reference.

    Raises:
        BenchmarkError: what is asked for makes no sense.
        BirefnetError: a model or checkpoint that isn't there.
    """
    found = [_model(model, request, scratch, say, clock) for model in request.models]
    if request.against is None:
        return tuple(_entrant(name, ways, checkpoint, request) for name, ways, checkpoint in found)
    name, reference, checkpoint = _reference(request)
    ways = [way for _, ways, _ in found for way in ways]
    own = next((own for _, _, own in found if own), None)
    return (_entrant(name, ways, checkpoint or own, request, reference),)


def _entrant(
    name: str,
    ways: Sequence[Way],
    checkpoint: Path | None,
    request: Request,
    reference: Sequence[Way] = (),
) -> Entrant:
    """The reference first, then PyTorch on the checkpoint, then graphs, then other backends."""
    pytorch = [pytorch_way(word, checkpoint) for word in request.pytorch] if checkpoint else []
    source = str(checkpoint) if checkpoint else ways[0].source
    others = [Way(name, "", "fp32", ("cpu",), source) for name in request.backends]
    return Entrant(name, (*reference, *pytorch, *ways, *others), checkpoint)


def _reference(request: Request) -> tuple[str, list[Way], Path | None]:
    """Name, ways and checkpoint of `--against`."""
    assert request.against
    if not request.against.startswith(REMOTE):
        checkpoint = fetch(request.against, request.fetching)
        return checkpoint.name or _name(checkpoint.path), [], checkpoint.path
    place = request.against.removeprefix(REMOTE)
    if not request.trust_remote_code:
        raise BenchmarkError(
            f"{request.against} means to run Python code from {place} on this machine, with all "
            "your rights; read it, and if you trust it add --trust-remote-code"
        )
    if not Path(place).is_dir() and "@" not in place:
        raise BenchmarkError(
            f"{request.against}: code that may change without notice is not run; name the "
            f"revision, as {request.against}@COMMIT"
        )
    return place, [Way("pytorch", "transformers", "fp32", ("cpu",), request.against)], None


def _model(
    model: str, request: Request, scratch: Path, say: Say, clock: Clock
) -> tuple[str, list[Way], Path | None]:
    """Name, graphs, and the checkpoint if the model is one."""
    if _is_checkpoint(Path(model)):
        ways = _exported(Path(model), request, scratch, say, clock)
        return _name(Path(model)), ways, Path(model)
    if request.precisions is None:
        files = [find_model(model)]
    elif Path(model).is_dir():
        files = [find_model(Path(model, MODEL_OF_PRECISION[each])) for each in request.precisions]
    else:
        files = [find_model(f"{model}:{each}") for each in request.precisions]
    return Path(model).stem, [graph_way(file, request.providers) for file in files], None


def _exported(
    checkpoint: Path, request: Request, scratch: Path, say: Say, clock: Clock
) -> list[Way]:
    """Every variant of a checkpoint; one that can't be exported is a way with a problem."""
    ways = []
    folder = scratch / _name(checkpoint)
    for variant in variants(request.lowerings, request.precisions or ("fp32",)):
        say(f"exporting {checkpoint}: {variant.lowering}, {variant.precision}")
        started = clock()
        try:
            file = export_variant(checkpoint, variant, folder, request.exporting)
        except BenchmarkError as error:
            say(f"  {error}")
            ways.append(
                Way(
                    "onnxruntime",
                    variant.lowering,
                    variant.precision,
                    request.providers,
                    str(checkpoint),
                    problem=str(error),
                )
            )
            continue
        say(f"  took {format_seconds(clock() - started)}")
        ways.append(graph_way(file, request.providers))
    return ways


def _is_checkpoint(path: Path) -> bool:
    if path.is_dir():
        return not any(path.rglob("*.onnx")) and any(
            file.suffix in CHECKPOINT_SUFFIXES for file in path.iterdir()
        )
    return path.suffix in CHECKPOINT_SUFFIXES and path.is_file()


def _name(path: Path) -> str:
    """A checkpoint's name: its file's, or its folder's where the file is called like all."""
    return path.parent.name if path.stem in ("model", "pytorch_model") else path.stem


def trained_size(entrant: Entrant) -> tuple[int, int]:
    """At which size to run where none is asked for: what a graph was trained or fixed at."""
    for way in entrant.ways:
        if way.backend != "onnxruntime" or way.problem:
            continue
        known = read_onnx(Path(way.source))
        if text := known.properties.get("birefnet.trained_size"):
            return parse_height_width(text)
        shape = known.inputs[0].shape if known.inputs else None
        if shape and len(shape) == 4 and isinstance(shape[2], int) and isinstance(shape[3], int):
            return shape[2], shape[3]
    return DEFAULT_SIZE
