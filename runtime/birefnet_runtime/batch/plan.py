"""Which file becomes which: inputs and an output place, as typed, to a list of jobs.

The file system is asked through `os.path`, which answers no where it can't be asked: `Path.is_dir`
raises on long names and in folders that may not be searched.
"""

import codecs
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from birefnet_models.errors import BirefnetError

from ..errors import ImageError, OutputError
from ..images.read import SUFFIXES
from ..images.write import FORMATS, PNG, Format, format_of
from .naming import InputFile, name_results

STANDARD_STREAM = Path("-")
"""Standard input as a source, standard output as a target."""


@dataclass(frozen=True, slots=True)
class Job:
    """One image file and the file that its result goes to.

    Attributes:
        source: the image.
        target: its result.
        overwrite: whether a target that is there is replaced; in place it might be an input.
    """

    source: Path
    target: Path
    overwrite: bool = True

    @property
    def name(self) -> str:
        """The source as messages call it."""
        return "standard input" if self.source == STANDARD_STREAM else str(self.source)


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that can't be done, and why."""

    source: Path
    error: BirefnetError


@dataclass(frozen=True, slots=True)
class CutoutPlan:
    """The jobs of a run, and the inputs that can't be done."""

    jobs: tuple[Job, ...]
    failures: tuple[Failure, ...]
    format: Format = PNG


def plan_cutouts(inputs: Sequence[Path], output: Path, form: Format | None = None) -> CutoutPlan:
    """Decide where each result goes.

    One input file: `output` is the file if it ends in a format's suffix, else a directory. Several,
    or a folder: `output` is a directory, and names and the tree below each folder are kept, as
    `name_results` says. Where `output` is the folder itself, results of earlier runs are no inputs,
    and nothing that is there is overwritten. `-` is standard input, and standard output.

    Args:
        inputs: files and folders.
        output: a file or a directory.
        form: the format; by default what the file's suffix says, PNG in a directory.

    Raises:
        OutputError: `output` doesn't suit the inputs.
    """
    single = _is_single_file(inputs, output)
    if single and output != STANDARD_STREAM:
        named = format_of(output)
        if form not in {None, named}:
            raise OutputError(f"{output}: that name says {named.name}, not {form.name}")
        form = named
    form = form or PNG
    failures: list[Failure] = []
    files = list(_find_files(inputs, output, failures))
    if single:
        targets = [output] * len(files)
    else:
        targets = [output / name for name in name_results(files, output, form.suffixes[0])]
    taken = {_identity(file.path) for file in files} - {None}
    jobs: dict[Path, Job] = {}
    for file, target in zip(files, targets, strict=True):
        reason = None
        if target in jobs:
            reason = f"its result would be {target}, which is that of {jobs[target].source}"
        elif _identity(target) in taken:
            reason = f"{target} is an input; not overwritten"
        if reason:
            failures.append(Failure(file.path, OutputError(f"{file.path}: {reason}")))
        else:
            jobs[target] = Job(file.path, target, overwrite=not file.in_place)
    return CutoutPlan(tuple(jobs.values()), tuple(failures), form)


def read_list(content: bytes) -> list[Path]:
    """Paths of a list: ended by NUL if there is one (`find -print0`), else one a line.

    UTF-16 is known by its byte order mark, which a list in UTF-8 may have, too.

    Raises:
        ImageError: the list begins as UTF-16 and is none.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            content = content.decode("utf-16").encode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise ImageError(f"the list of files is no UTF-16: {error.reason}") from error
    content = content.removeprefix(codecs.BOM_UTF8)
    end = b"\0" if b"\0" in content else b"\n"
    return [Path(os.fsdecode(line.rstrip(b"\r"))) for line in content.split(end) if line.strip()]


def _is_single_file(inputs: Sequence[Path], output: Path) -> bool:
    """Whether `output` names the result itself."""
    several = len(inputs) > 1 or os.path.isdir(inputs[0])
    if output == STANDARD_STREAM:
        if several:
            raise OutputError("for more than one file, --output is a directory, not -")
        return True
    suffix = output.suffix.lower()
    if os.path.isdir(output) or not suffix:
        return False
    if several:
        if os.path.exists(output) or any(suffix in form.suffixes for form in FORMATS):
            raise OutputError(f"{output}: for more than one file, --output is a directory")
        return False
    return True


def _find_files(
    inputs: Iterable[Path], output: Path, failures: list[Failure]
) -> Iterator[InputFile]:
    """Each image file, with its place below the output directory; each file once."""
    seen: set[str] = set()
    for path in inputs:
        if os.path.isdir(path):
            in_place = os.path.realpath(path) == os.path.realpath(output)
            files = [
                InputFile(file, file.relative_to(path), in_place)
                for file in _walk(path, output, in_place, failures)
            ]
            if not files:
                error = ImageError(f"{path}: no image files in this folder")
                failures.append(Failure(path, error))
        else:
            place = Path("stdin") if path == STANDARD_STREAM else Path(path.name)
            files = [InputFile(path, place)]
        for file in files:
            if (known_as := os.path.abspath(file.path)) not in seen:
                seen.add(known_as)
                yield file


def _walk(folder: Path, output: Path, in_place: bool, failures: list[Failure]) -> Iterator[Path]:
    """Image files below a folder by suffix, sorted; hidden ones and earlier results left out."""

    def failed(error: OSError) -> None:
        reason = f"{error.filename}: {(error.strerror or '').lower()}"
        failures.append(Failure(Path(error.filename), ImageError(reason)))

    results = os.path.realpath(output)
    for root, folders, names in os.walk(folder, onerror=failed):
        here = Path(root)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(here / name) != results
        )
        images = {name for name in names if _is_image(name) and not name.startswith(".")}
        for name in sorted(images):
            if in_place and _is_result_of(Path(name), images):
                continue
            if _is_special(here / name):
                reason = f"{here / name}: no file, but a pipe or device; name it by itself"
                failures.append(Failure(here / name, ImageError(reason)))
                continue
            yield here / name


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES


def _is_result_of(result: Path, images: set[str]) -> bool:
    """Whether `a.jpg.png` stands beside `a.jpg`."""
    formats = {suffix for form in FORMATS for suffix in form.suffixes}
    return result.suffix in formats and result.stem in images


def _is_special(path: Path) -> bool:
    """Whether something is there that is no regular file."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False  # reading it will say what is wrong


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode, the same for a file under any name; None if there is no file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
