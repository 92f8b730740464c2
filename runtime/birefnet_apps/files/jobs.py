"""What a run has to do: which file becomes which, and which can't."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from birefnet_models.base.errors import BirefnetError
from birefnet_runtime.images.write import PNG, Format

from ..storage import STANDARD_STREAM, Location, RemotePath, file_at


@dataclass(frozen=True, slots=True)
class Job:
    """One image file and the file that its result goes to.

    Attributes:
        source: the image.
        target: its result.
        overwrite: whether a target that is there is replaced; in place it might be an input.
    """

    source: Location
    target: Location
    overwrite: bool = True

    @property
    def name(self) -> str:
        """The source as messages call it."""
        return "standard input" if self.source == STANDARD_STREAM else str(self.source)


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that can't be done, and why."""

    source: Location
    error: BirefnetError


@dataclass(frozen=True, slots=True)
class CutoutPlan:
    """The jobs of a run, and the inputs that can't be done.

    Attributes:
        jobs: a sequence; of a folder in an object store an iterator, which lists the store.
        failures: complete when `jobs` has ended.
        format: of the results.
        count: how many jobs there are; None while that is not known.
        remote: whether files lie in an object store, so that asking for them takes a while.
    """

    jobs: Iterable[Job]
    failures: Sequence[Failure]
    format: Format = PNG
    count: int | None = None
    remote: bool = False


# Names of results: the same for a file however often a run is repeated.


@dataclass(frozen=True, slots=True)
class InputFile:
    """An image file, and where it belongs.

    Attributes:
        path: the file.
        place: its path below the output directory, but for the suffix.
        in_place: its result lies beside it, among other inputs.
    """

    path: Location
    place: Path
    in_place: bool = False


def name_results(
    inputs: Sequence[InputFile], directory: Path | RemotePath, suffix: str
) -> list[Path]:
    """Name the result of each input, below the output directory.

    `a.jpg` becomes `a.png`. Where several would become that:

    - of files in one folder, each keeps its suffix: `a.jpg.png`, `a.webp.png`;
    - of files in several folders, each keeps as much of its path as tells them apart: `x/a.png`,
      `y/a.png`.

    A result that is there already keeps its name when another file comes to claim it. In place all
    keep their suffix, which tells the next run that `a.jpg.png` is a result. Names that differ by
    case alone count as one, for they are one on some disks.

    Args:
        inputs: each file once.
        directory: where the results go.
        suffix: of the results, with its dot.

    Returns:
        Paths below `directory`, one an input.
    """
    names = [_with(suffix, file.place, keep=file.in_place) for file in inputs]
    claims: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        claims[str(name).casefold()].append(index)
    for indexes in claims.values():
        if len(indexes) > 1:
            earlier = [
                index
                for index in indexes
                if _was_there_before(inputs[index].path, directory / names[index])
            ]
            longer = _told_apart([inputs[index] for index in indexes], suffix)
            for index, name in zip(indexes, longer, strict=True):
                if earlier != [index]:
                    names[index] = name
    return names


def absolute(place: Location) -> str:
    """A location's whole name, the same however it was typed."""
    if isinstance(place, RemotePath):
        return f"{place.protocol}://{place.path}"
    return os.path.abspath(str(place))


def _was_there_before(source: Location, result: Location) -> bool:
    """Whether a file came to its place before a result was written that is there."""
    came, written = file_at(source).came_ns(), file_at(result).written_ns()
    return came is not None and written is not None and came < written


def _told_apart(inputs: Sequence[InputFile], suffix: str) -> list[Path]:
    """Longer names for files that would have one name."""
    folders = [Path(absolute(file.path)).parent for file in inputs]
    deepest = max(len(folder.parts) for folder in folders)
    for kept in range(deepest):
        places = [
            Path(*_last(folder, len(file.place.parts) - 1 + kept), file.place.name)
            for file, folder in zip(inputs, folders, strict=True)
        ]
        if len({place.parent for place in places}) == len(set(folders)):
            break
    beside = Counter(place.parent for place in places)
    return [
        _with(suffix, place, keep=file.in_place or beside[place.parent] > 1)
        for file, place in zip(inputs, places, strict=True)
    ]


def _with(suffix: str, place: Path, *, keep: bool) -> Path:
    return place.with_name(place.name + suffix) if keep else place.with_suffix(suffix)


def _last(folder: Path, count: int) -> tuple[str, ...]:
    """The last parts of an absolute path, without its root or scheme."""
    parts = folder.parts[1:]
    return parts[max(0, len(parts) - count) :]
