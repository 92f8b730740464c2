"""Which file becomes which: inputs and an output place, as typed, to a list of jobs."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from birefnet_models.errors import BirefnetError

from ..errors import ImageError, OutputError
from ..images.read import SUFFIXES
from ..images.write import FORMATS, PNG, Format, format_of

STANDARD_STREAM = Path("-")
"""Standard input as a source, standard output as a target."""


@dataclass(frozen=True, slots=True)
class Job:
    """One image file and the file that its result goes to."""

    source: Path
    target: Path


@dataclass(frozen=True, slots=True)
class CutoutPlan:
    """The jobs of a run, and the inputs that can't be done."""

    jobs: tuple[Job, ...]
    failures: tuple[BirefnetError, ...]
    format: Format = PNG


def plan_cutouts(inputs: Sequence[Path], output: Path, form: Format | None = None) -> CutoutPlan:
    """Decide where each result goes.

    One input file: `output` is the file if it ends in a format's suffix, else a directory. Several,
    or a folder: `output` is a directory, and names and the tree below each folder are kept. In a
    directory `a.jpg` becomes `a.png`; where that name is claimed twice, by `a.jpg` and `a.webp`,
    both keep their suffix: `a.jpg.png`, `a.webp.png`. `-` is standard input, and standard output.

    Args:
        inputs: files and folders.
        output: a file or a directory.
        form: the format; by default what the file's suffix says, PNG in a directory.

    Raises:
        OutputError: `output` doesn't suit the inputs, or two results would be one file.
    """
    failures: list[BirefnetError] = []
    single = _is_single_file(inputs, output)
    if single and output != STANDARD_STREAM:
        named = format_of(output)
        if form not in {None, named}:
            raise OutputError(f"{output}: that name says {named.name}, not {form.name}")
        form = named
    form = form or PNG
    images = list(_find_images(inputs, output, failures))
    if single:
        jobs = [Job(source, output) for source, _ in images]
    else:
        jobs = _in_directory(images, output, form)
    taken = _identities(job.source for job in jobs)
    safe = []
    for job in jobs:
        if taken.isdisjoint(_identities([job.target])):
            safe.append(job)
        else:
            failures.append(OutputError(f"{job.source}: {job.target} is an input; not overwritten"))
    return CutoutPlan(tuple(safe), tuple(failures), form)


def read_list(content: bytes) -> list[Path]:
    """Paths of a list: ended by NUL if there is one (`find -print0`), else one a line."""
    end = b"\0" if b"\0" in content else b"\n"
    return [Path(os.fsdecode(line.rstrip(b"\r"))) for line in content.split(end) if line.strip()]


def _is_single_file(inputs: Sequence[Path], output: Path) -> bool:
    """Whether `output` names the result itself."""
    several = len(inputs) > 1 or inputs[0].is_dir()
    if output == STANDARD_STREAM:
        if several:
            raise OutputError("for more than one file, --output is a directory, not -")
        return True
    suffix = output.suffix.lower()
    if output.is_dir() or not suffix:
        return False
    if several:
        if output.exists() or any(suffix in form.suffixes for form in FORMATS):
            raise OutputError(f"{output}: for more than one file, --output is a directory")
        return False
    return True


def _find_images(
    inputs: Iterable[Path], output: Path, failures: list[BirefnetError]
) -> Iterator[tuple[Path, Path]]:
    """Each image file, with its place below the output directory; each file once."""
    seen: set[Path] = set()
    for path in inputs:
        if path.is_dir():
            pairs = [(file, file.relative_to(path)) for file in _walk(path, output, failures)]
            if not pairs:
                failures.append(ImageError(f"{path}: no image files in this folder"))
        elif path == STANDARD_STREAM:
            pairs = [(path, Path("stdin"))]
        else:
            pairs = [(path, Path(path.name))]
        for file, place in pairs:
            if file not in seen:
                seen.add(file)
                yield file, place


def _walk(folder: Path, output: Path, failures: list[BirefnetError]) -> Iterator[Path]:
    """Image files below a folder by suffix, sorted; hidden ones and earlier results left out."""

    def failed(error: OSError) -> None:
        failures.append(ImageError(f"{error.filename}: {(error.strerror or '').lower()}"))

    results = output.resolve()
    for root, folders, names in os.walk(folder, onerror=failed):
        here = Path(root)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and (here / name).resolve() != results
        )
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield here / name


def _in_directory(images: Sequence[tuple[Path, Path]], directory: Path, form: Format) -> list[Job]:
    suffix = form.suffixes[0]
    short = [place.with_suffix(suffix) for _, place in images]
    claims = Counter(short)
    jobs: dict[Path, Job] = {}
    for (source, place), name in zip(images, short, strict=True):
        if claims[name] > 1:
            name = place.with_name(place.name + suffix)
        target = directory / name
        if target in jobs:
            raise OutputError(f"{jobs[target].source} and {source} would both become {target}")
        jobs[target] = Job(source, target)
    return list(jobs.values())


def _identities(paths: Iterable[Path]) -> set[tuple[int, int]]:
    """Device and inode of those paths that exist: the same file under any name is the same."""
    identities = set()
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        identities.add((status.st_dev, status.st_ino))
    return identities
