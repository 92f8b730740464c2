"""The images of a folder in an object store, as jobs that are named while the store is listed.

A plan of a million jobs takes a gigabyte. But keys come in order, and only files whose keys begin
alike can come to claim one name: `a.jpg` and `a.webp`, both behind `a.`. So a job is known as soon
as a key comes that begins otherwise, and no more is remembered than such groups that are open.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from birefnet_models.base.errors import BirefnetError
from birefnet_runtime.errors import ImageError, OutputError
from birefnet_runtime.images.read import IMAGE_SUFFIXES
from birefnet_runtime.images.write import FORMATS

from ..storage import Location, RemotePath
from ..storage.location import VERSION
from ..storage.remote import RemoteFile
from .jobs import Failure, InputFile, Job, name_results

_BESIDE = ("", ".", "..")
"""Parts of a key that would lead out of a folder, or nowhere."""


@dataclass(slots=True)
class _Group:
    """Files that may come to claim one name.

    Attributes:
        start: what their keys begin with, up to the last dot.
        images: keys of all, results of earlier runs among them.
        files: those that are inputs.
        taken: results of files in groups within this one that could claim a name of it.
    """

    start: str
    images: set[str] = field(default_factory=set)
    files: list[InputFile] = field(default_factory=list)
    taken: dict[Location, Location] = field(default_factory=dict)


def images_below(
    folder: RemotePath, output: Location, failures: list[Failure]
) -> Iterator[InputFile]:
    """Image files below a folder by suffix; hidden ones and earlier results left out.

    What can't be listed or used is added to `failures`; the listing ends there if it broke off.
    """
    for group in _groups(folder, output, failures):
        yield from group.files


def jobs_below(
    folder: RemotePath, output: RemotePath, suffix: str, failures: list[Failure]
) -> Iterator[Job]:
    """Jobs for the images below a folder, named as `name_results` names them.

    Upper and lower case count, as they do in object stores.

    Args:
        folder: where the images are.
        output: where the results go: the folder itself, below it, or elsewhere.
        suffix: of the results, with its dot.
        failures: what can't be listed or used is added, as it is found.
    """
    above = folder.is_below(output)  # then a result could have an input's name
    for group in _groups(folder, output, failures):
        for file, name in zip(group.files, name_results(group.files, output, suffix), strict=True):
            target = output / name
            if (other := group.taken.get(target)) is not None:
                reason = f"its result would be {target}, which is that of {other}"
                failures.append(Failure(file.path, OutputError(f"{file.path}: {reason}")))
                continue
            group.taken[target] = file.path
            yield Job(file.path, target, overwrite=not (above and target.is_below(folder)))


def _groups(folder: RemotePath, output: Location, failures: list[Failure]) -> Iterator[_Group]:
    """Each group when it is complete, those within it before."""
    in_place = output == folder or (
        isinstance(output, RemotePath) and folder.is_below(output) and output.is_below(folder)
    )
    underway: list[_Group] = []
    for key in _image_keys(folder, output, failures):
        while underway and not key.startswith(underway[-1].start):
            yield from _close(underway)
        start = f"{key.rpartition('.')[0]}."
        if not (underway and underway[-1].start == start):
            underway.append(_Group(start))
        is_result = in_place and any(start[:-1] in group.images for group in underway)
        if not (is_result and _is_format(key)):
            place = Path(PurePosixPath(key))
            underway[-1].files.append(InputFile(folder / place, place, in_place))
        underway[-1].images.add(key)
    while underway:
        yield from _close(underway)


def _close(underway: list[_Group]) -> Iterator[_Group]:
    """Hand out the innermost group; then tell the one around it which names are taken."""
    group = underway.pop()
    yield group
    within = group.start.removeprefix(underway[-1].start)[:-1] if underway else ""
    if f".{within.lower()}" in IMAGE_SUFFIXES:  # a.jpg.tif became a.jpg.png, as a.jpg may
        underway[-1].taken.update(group.taken)


def _image_keys(folder: RemotePath, output: Location, failures: list[Failure]) -> Iterator[str]:
    """Keys of images, relative to the folder; none of hidden files or of what `output` holds."""
    results = ""
    if isinstance(output, RemotePath) and output.is_below(folder):
        results = f"{output.path.removeprefix(folder.path).strip('/')}/".lstrip("/")
    try:
        for key in RemoteFile(folder).names_below():
            parts = key.split("/")
            if PurePosixPath(key).suffix.lower() not in IMAGE_SUFFIXES:
                continue
            if results and key.startswith(results):
                continue
            reason = ""
            if any(part in _BESIDE for part in parts):
                reason = "its key has an empty part, . or .. in it, which no folder can mirror"
            elif (source := folder / PurePosixPath(key)).version:
                reason = f"its key has {VERSION} in it, by which S3's drivers name a version"
            if reason:
                source = RemotePath(f"{folder.url.rstrip('/')}/{key}")
                failures.append(Failure(source, ImageError(f"{source}: {reason}")))
            elif not any(part.startswith(".") for part in parts):
                yield key
    except BirefnetError as error:
        failures.append(Failure(folder, error))


def _is_format(key: str) -> bool:
    return any(PurePosixPath(key).suffix in form.suffixes for form in FORMATS)
