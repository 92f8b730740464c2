"""What a run has to do: which file becomes which, which can't, and whose result a file is.

Each result carries a mark of its input: without it a run over `y/1.jpg` would overwrite
`out/1.png`, the result of `x/1.jpg`, or take it for its own. The mark is in an extended attribute
of a local file and in the metadata of an object of s3 or gs. Where neither is kept, the result is
anybody's, as one that other programs wrote.
"""

import hashlib
import os
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from birefnet_models.base.errors import BirefnetError
from birefnet_runtime.cutout.mask import Subject
from birefnet_runtime.images.write import PNG, Format

from ..storage import STANDARD_STREAM, InMemory, Location, RemotePath, absolute, file_at, plain

_MARK_VERSION = "1"
_HASH_DIGITS = 16
_END_BYTES = 1 << 16
"""What is read of a file's beginning and end, to know it again."""


@dataclass(frozen=True, slots=True)
class Job:
    """One image file and the file that its result goes to.

    Attributes:
        source: the image.
        target: its result.
        overwrite: whether a target that is there is replaced; in place it might be an input.
        key: names the source among inputs; empty: its whole path does.
        explicit: whether the user typed the target, so that it is replaced whatever it was.
    """

    source: Location
    target: Location
    overwrite: bool = True
    key: str = ""
    explicit: bool = False

    @property
    def name(self) -> str:
        """The source as messages call it."""
        return "standard input" if self.source == STANDARD_STREAM else str(self.source)


@dataclass(frozen=True, slots=True)
class FileReport:
    """Result of one file.

    Attributes:
        job: the file, and where its result went.
        error: why there is no result.
        skipped: whether the result was there already.
        image_size: (height, width) in pixels.
        model_size: (height, width) at which the network ran.
        subject: the subject, in the image's pixels; of an animation, in its first frame.
        frames: how many were written.
        seconds: wall time of each step: `read`, `run`, `compose`, `write`.
        details: where they are asked for, what records of a run say beside that: `etag` of the
            source, `source_bytes`, `result_bytes`, `started` and `finished` in seconds since the
            epoch.
    """

    job: Job
    error: BirefnetError | None = None
    skipped: bool = False
    image_size: tuple[int, int] | None = None
    model_size: tuple[int, int] | None = None
    subject: Subject | None = None
    frames: int = 1
    seconds: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The file: its path or URL, without secrets."""
        return plain(self.job.source)

    @property
    def target(self) -> str | None:
        """Where its result goes: a path or URL; None where that doesn't lie anywhere."""
        return None if isinstance(self.job.target, InMemory) else plain(self.job.target)

    def as_record(self) -> dict[str, Any]:
        """The same as JSON has it."""
        nowhere = isinstance(self.job.target, InMemory)
        target = None if nowhere else plain(self.job.target)
        record: dict[str, Any] = {"input": plain(self.job.source), "output": target}
        if self.error is not None:
            return {**record, "output": None, "target": target, "error": str(self.error)}
        if self.skipped:
            return {**record, "skipped": True}
        return {
            **record,
            "image_size": self.image_size,
            "model_size": self.model_size,
            "frames": self.frames,
            **(asdict(self.subject) if self.subject else {}),
            "seconds": {step: round(took, 4) for step, took in self.seconds.items()},
        }


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


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several parts of a run, for as many processes.

    A file belongs to a part by its own name, whatever else there is.

    Attributes:
        number: of the part, from 1 on.
        count: of parts.
    """

    number: int
    count: int

    def holds(self, job: Job) -> bool:
        """Whether a job belongs to this part."""
        name = job.key or absolute(job.source)
        return zlib.crc32(name.encode("utf-8", "surrogateescape")) % self.count == self.number - 1


def selected(plan: CutoutPlan, chosen: Callable[[Job], bool]) -> CutoutPlan:
    """The plan with fewer jobs; their names are those of the whole plan."""
    jobs = filter(chosen, plan.jobs)
    if plan.count is None:
        return replace(plan, jobs=jobs)
    listed = tuple(jobs)
    return replace(plan, jobs=listed, count=len(listed))


@dataclass(frozen=True, slots=True)
class InputFile:
    """An image file, and where it belongs.

    Attributes:
        path: the file.
        place: its path below the output directory, but for the suffix.
        in_place: its result lies beside it, among other inputs.
        key: names it among inputs; empty: its whole path does.
        alone: its result's name hangs on nothing but its place, suffix and all.
    """

    path: Location
    place: Path
    in_place: bool = False
    key: str = ""
    alone: bool = False


def name_results(
    inputs: Sequence[InputFile], directory: Path | RemotePath, suffix: str
) -> list[Path]:
    """Name the result of each input, below the output directory.

    `a.jpg` becomes `a.png`. Where several would become that:

    - of files in one folder, each keeps its suffix: `a.jpg.png`, `a.webp.png`;
    - of files in several folders, each keeps as much of its path as tells them apart: `x/a.png`,
      `y/a.png`.

    A result that is there already, and is marked as a file's own, keeps its name when another file
    comes to claim it. In place all keep their suffix, which tells the next run that `a.jpg.png` is
    a result. Names that differ by
    case alone count as one, for they are one on some disks.

    Args:
        inputs: each file once.
        directory: where the results go.
        suffix: of the results, with its dot.

    Returns:
        Paths below `directory`, one an input.
    """
    names = [_with(suffix, file.place, keep=file.in_place or file.alone) for file in inputs]
    claims: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        if not inputs[index].alone:
            claims[str(name).casefold()].append(index)
    for indexes in claims.values():
        if len(indexes) > 1:
            earlier = [index for index in indexes if _kept(inputs[index], directory / names[index])]
            longer = _told_apart([inputs[index] for index in indexes], suffix)
            for index, name in zip(indexes, longer, strict=True):
                if earlier != [index]:
                    names[index] = name
    return names


def _kept(file: InputFile, result: Location) -> bool:
    """Whether a result is there already that was made of this file."""
    try:
        found = file_at(result).found()
    except BirefnetError:  # a store that doesn't answer; writing will say so
        return False
    own = origin_mark(file.key or absolute(file.path)).rpartition("-")[0]
    return found is not None and found.origin.startswith(f"{own}-")


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


def origin_mark(identity: str, source: Path | bytes | None = None) -> str:
    """The mark of a result: a version, and hashes of its input's name and of what is in it.

    Args:
        identity: the input's whole name, or what else tells it from others.
        source: its path, or its content, of which size, beginning and end count; None: by its name
            alone.
    """
    name = hashlib.sha256(identity.encode("utf-8", "surrogateescape"))
    size, start, end = 0, b"", b""
    if isinstance(source, bytes):
        size, start, end = len(source), source[:_END_BYTES], source[-_END_BYTES:]
    elif source is not None:
        with suppress(OSError), open(source, "rb") as file:
            size, start = os.fstat(file.fileno()).st_size, file.read(_END_BYTES)
            file.seek(max(0, size - _END_BYTES))
            end = file.read(_END_BYTES)
    content = hashlib.sha256(b"%d " % size + start + end)
    parts = (name.hexdigest()[:_HASH_DIGITS], content.hexdigest()[:_HASH_DIGITS])
    return "-".join((_MARK_VERSION, *parts))


def may_be_of(mark: str, identity: str, source: Path | bytes | None = None) -> bool:
    """Whether a result with this mark may have been made of an input.

    That is so if there is no mark, if the name is the input's, or the content: then the input was
    moved.

    Args:
        mark: of the result; empty if it has none.
        identity: of the input.
        source: its path or content; None: it is told by its name alone.
    """
    version, _, rest = mark.partition("-")
    name, _, content = rest.partition("-")
    _, own_name, own_content = origin_mark(identity, source).split("-")
    return (
        version != _MARK_VERSION
        or name == own_name
        or (source is not None and content == own_content)
    )
