"""Which file becomes which: inputs and an output place, as typed, to a list of jobs."""

import codecs
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from birefnet_models.base.errors import BirefnetError
from birefnet_runtime.errors import ImageError, OutputError
from birefnet_runtime.images.read import IMAGE_SUFFIXES
from birefnet_runtime.images.write import FORMATS, PNG, Format, format_of

from ..storage import (
    STANDARD_STREAM,
    InMemory,
    Location,
    RemotePath,
    absolute,
    file_at,
    parse_location,
)
from .cutter import LOOKED_AT, CutterSettings
from .jobs import CutoutPlan, Failure, InputFile, Job, name_results


def plan_cutouts(
    inputs: Sequence[Location],
    output: Location,
    form: Format | None = None,
    *,
    relative_to: Location | None = None,
) -> CutoutPlan:
    """Decide where each result goes.

    One input file: `output` is the file if it ends in a format's suffix, else a directory. Several,
    or a folder: `output` is a directory, and names and the tree below each folder are kept, as
    `name_results` says. Where `output` is the folder itself, results of earlier runs are no inputs,
    and nothing that is there is overwritten. `-` is standard input, and standard output.

    A folder of an object store whose results go to an object store is listed as its jobs are drawn,
    in bounded memory; everything else is listed here.

    Args:
        inputs: files and folders.
        output: a file or a directory.
        form: the format; by default what the file's suffix says, PNG in a directory.
        relative_to: a folder that all inputs lie below. Each result's name is then its input's path
            from there and the format's suffix, whatever else is listed: `x/1.jpg.png`.

    Raises:
        OutputError: `output` doesn't suit the inputs.
        ImageError: an object store doesn't say whether the only input is a folder.
    """
    single = _is_single_file(inputs, output)
    if single and relative_to is not None:
        raise OutputError(f"{output}: names below --relative-to need a directory as --output")
    if single and output.name and Path(output.name).suffix and output != STANDARD_STREAM:
        named = format_of(Path(output.name))
        if form not in {None, named}:
            raise OutputError(f"{output}: that name says {named.name}, not {form.name}")
        form = named
    form = form or PNG
    first, *others = inputs
    if (
        isinstance(first, RemotePath)
        and isinstance(output, RemotePath)
        and not (others or single)
        and _is_folder(first)
    ):
        return _plan_while_listing(first, output, form, relative_to)
    failures: list[Failure] = []
    files = list(_find_files(inputs, output, failures))
    if relative_to is not None:
        files = list(files_below(files, relative_to, failures))
    targets: list[Location]
    if single:
        targets = [output] * len(files)
    else:
        assert not isinstance(output, InMemory)
        targets = [output / name for name in name_results(files, output, form.suffixes[0])]
    jobs = _pair(files, targets, failures, explicit=single)
    remote = any(isinstance(place, RemotePath) for place in (*inputs, output))
    return CutoutPlan(jobs, tuple(failures), form, len(jobs), remote)


def made_ready(
    plan: CutoutPlan, settings: CutterSettings, output: Location
) -> tuple[CutterSettings, Iterator[Job]]:
    """Check what can be checked before the model is opened.

    Returns:
        The settings, so that the first pictures fit where memory is bounded, and the jobs.

    Raises:
        OutputError: nothing can be written there.
    """
    if plan.count != 1:  # before the first picture costs work
        file_at(output).check_writable()
    jobs = iter(plan.jobs)
    first = list(islice(jobs, LOOKED_AT))
    if settings.opening.get("max_memory") is not None:
        settings = settings.roomy(first, complete=plan.count == len(first))
    return settings, chain(first, jobs)


def plan_again(
    failed: Mapping[str, str | None],
    output: Location,
    form: Format | None = None,
    *,
    relative_to: Location | None = None,
) -> CutoutPlan:
    """A plan of inputs that failed, from their records.

    Args:
        failed: each input and where its result goes; None: it gets a name as in `plan_cutouts`.
        output, form, relative_to: as `plan_cutouts` takes them, for those.
    """
    jobs = [
        Job(parse_location(name), parse_location(target))
        for name, target in failed.items()
        if target is not None
    ]
    unknown = [parse_location(name) for name, target in failed.items() if target is None]
    remote = any(
        isinstance(place, RemotePath) for job in jobs for place in (job.source, job.target)
    )
    if not unknown:
        known = form or (format_of(Path(jobs[0].target.name)) if jobs else PNG)
        return CutoutPlan(tuple(jobs), (), known, len(jobs), remote)
    plan = plan_cutouts(unknown, output, form, relative_to=relative_to)
    every = (*jobs, *plan.jobs)
    return replace(plan, jobs=every, count=len(every), remote=remote or plan.remote)


def _pair(
    files: Sequence[InputFile],
    targets: Sequence[Location],
    failures: list[Failure],
    *,
    explicit: bool,
) -> tuple[Job, ...]:
    """A job for each file, but for those that would overwrite an input or another's result."""
    taken = {_identity(file.path) for file in files} - {None}
    jobs: dict[Location, Job] = {}
    for file, target in zip(files, targets, strict=True):
        reason = None
        if target in jobs:
            reason = f"its result would be {target}, which is that of {jobs[target].source}"
        elif _identity(target) in taken:
            reason = f"{target} is an input; not overwritten"
        if reason:
            failures.append(Failure(file.path, OutputError(f"{file.path}: {reason}")))
        else:
            jobs[target] = Job(file.path, target, not file.in_place, file.key, explicit)
    return tuple(jobs.values())


def _plan_while_listing(
    folder: RemotePath, output: RemotePath, form: Format, relative_to: Location | None
) -> CutoutPlan:
    """A plan whose jobs are found as they are drawn."""
    from .remote_folder import images_below, jobs_below  # fsspec is met for URLs only

    failures: list[Failure] = []
    jobs: Iterator[Job]
    if relative_to is None:
        jobs = jobs_below(folder, output, form.suffixes[0], failures)
    else:
        found = files_below(images_below(folder, output, failures), relative_to, failures)
        jobs = (job for file in found for job in [_named_alone(file, output, form)])
    first = next(jobs, None)
    if first is None:
        if not failures:
            failures.append(_no_images(folder))
        return CutoutPlan((), failures, form, 0, remote=True)
    return CutoutPlan(chain([first], jobs), failures, form, remote=True)


def files_below(
    files: Iterable[InputFile], prefix: Location, failures: list[Failure]
) -> Iterator[InputFile]:
    """The same files with their places, and what names them, from a folder on that they lie below.

    Args:
        files: of any folders.
        prefix: the folder.
        failures: those that lie elsewhere are added.
    """
    above = f"{absolute(prefix).rstrip('/')}/"
    for file in files:
        whole = absolute(file.path)
        if whole.startswith(above):
            key = whole.removeprefix(above)
            yield replace(file, place=Path(key), key=key, alone=True)
        else:
            error = OutputError(f"{file.path}: is not below {prefix}, which --relative-to names")
            failures.append(Failure(file.path, error))


def _named_alone(file: InputFile, output: RemotePath, form: Format) -> Job:
    (name,) = name_results([file], output, form.suffixes[0])
    return Job(file.path, output / name, not file.in_place, file.key)


def read_list(content: bytes) -> list[Location]:
    """Paths and URLs of a list: ended by NUL if there is one (`find -print0`), else one a line.

    UTF-16 is known by its byte order mark, which a list in UTF-8 may have, too.

    Raises:
        ImageError: the list begins as UTF-16 and is none.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            content = content.decode("utf-16").encode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise ImageError(f"the list of files is not UTF-16: {error.reason}") from error
    content = content.removeprefix(codecs.BOM_UTF8)
    end = b"\0" if b"\0" in content else b"\n"
    lines = (line.rstrip(b"\r") for line in content.split(end) if line.strip())
    return [parse_location(os.fsdecode(line)) for line in lines]


def _is_single_file(inputs: Sequence[Location], output: Location) -> bool:
    """Whether `output` names the result itself."""
    several = len(inputs) > 1 or _is_folder(inputs[0])
    if output == STANDARD_STREAM:
        if several:
            raise OutputError("for more than one file, --output is a directory, not -")
        return True
    suffix = Path(output.name).suffix.lower()
    if isinstance(output, RemotePath):
        suffix = output.suffix.lower()  # where no folders are, none is there already
    elif isinstance(output, Path) and os.path.exists(output):
        if os.path.isdir(output):
            return False
        if not os.path.isfile(output):  # a pipe or a device
            if several:
                raise OutputError(f"{output}: for more than one file, --output is a directory")
            return True
    if not suffix:
        return False
    if several:
        is_file = isinstance(output, Path) and os.path.exists(output)
        if is_file or any(suffix in form.suffixes for form in FORMATS):
            raise OutputError(f"{output}: for more than one file, --output is a directory")
        return False
    return True


def _is_folder(place: Location) -> bool:
    """Whether an input is a folder; of a URL that ends as an image's, the store is not asked."""
    if isinstance(place, RemotePath) and place.suffix.lower() in IMAGE_SUFFIXES:
        return False
    return os.path.isdir(place) if isinstance(place, Path) else file_at(place).is_folder()


def _find_files(
    inputs: Iterable[Location], output: Location, failures: list[Failure]
) -> Iterator[InputFile]:
    """Each image file, with its place below the output directory; each file once."""
    seen: set[str] = set()
    for path in inputs:
        try:
            files = _files_of(path, output, failures)
        except BirefnetError as error:  # an object store that doesn't answer
            failures.append(Failure(path, error))
            continue
        for file in files:
            if (known_as := absolute(file.path)) not in seen:
                seen.add(known_as)
                yield file


def _files_of(path: Location, output: Location, failures: list[Failure]) -> list[InputFile]:
    """The image files that one input stands for."""
    if not _is_folder(path):
        place = Path("stdin") if path == STANDARD_STREAM else Path(path.name)
        return [InputFile(path, place)]
    before = len(failures)
    if isinstance(path, RemotePath):
        from .remote_folder import images_below  # fsspec is met for URLs only

        files = list(images_below(path, output, failures))
    else:
        assert isinstance(path, Path)
        here = output if isinstance(output, Path) else None
        in_place = here is not None and os.path.realpath(path) == os.path.realpath(here)
        files = [
            InputFile(file, file.relative_to(path), in_place)
            for file in _walk(path, here, in_place, failures)
        ]
    if not files and len(failures) == before:
        failures.append(_no_images(path))
    return files


def _no_images(folder: Location) -> Failure:
    return Failure(folder, ImageError(f"{folder}: no image files in this folder"))


def _walk(
    folder: Path, output: Path | None, in_place: bool, failures: list[Failure]
) -> Iterator[Path]:
    """Image files below a folder by suffix, sorted; hidden ones and earlier results left out."""

    def failed(error: OSError) -> None:
        reason = f"{error.filename}: {(error.strerror or '').lower()}"
        failures.append(Failure(Path(error.filename), ImageError(reason)))

    results = None if output is None else os.path.realpath(output)
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
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def _is_result_of(result: Path, images: set[str]) -> bool:
    """Whether `a.jpg.png` stands beside `a.jpg`."""
    formats = {suffix for form in FORMATS for suffix in form.suffixes}
    return result.suffix in formats and result.stem in images


def _is_special(path: Location) -> bool:
    """Whether a pipe or a device is there, and neither a file nor a folder."""
    if not isinstance(path, Path):
        return False
    try:
        mode = os.stat(path).st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    except (OSError, ValueError):
        return False  # reading it will say what is wrong


def _identity(path: Location) -> object:
    """Device and inode, the same for a file under any name; None if there is no file.

    Of a URL it is the URL.
    """
    if not isinstance(path, Path):
        return absolute(path)
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
