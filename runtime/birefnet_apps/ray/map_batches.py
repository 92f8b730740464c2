"""A step of somebody's own pipeline: `dataset.map_batches(Cutout, ...)`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Unpack

import numpy as np
from birefnet_runtime.cutout.compose import Style
from birefnet_runtime.images.write import Encoding
from birefnet_runtime.segmenter import Opening
from numpy.typing import NDArray

from ..files.cutter import DOWNLOADS, UPLOADS, CutterSettings, check_style
from ..files.jobs import FileReport, Job
from ..storage import InMemory, Location, RemotePath, parse_location
from .actor import assigned_cpus, reports_of, with_threads


class Cutout:
    """Cuts out the pictures of a column; an actor opens its model once.

    For `Dataset.map_batches` with Ray's usual batches, dicts of arrays. Cells of the column are
    encoded images (bytes, as `ray.data.read_binary_files` gives them), or paths and URLs, which
    the actor reads itself. To what a batch holds these columns are added:

    - `cutout`: the encoded result as bytes, None where there is none; not with `target`;
    - `found`, `box`, `share`: the subject, as `Subject` has it; None where there is no result;
    - `image_size`: [height, width] in pixels, or None;
    - `error`: why there is no result, or None. Nothing that is wrong with a picture is raised.

    Args:
        model: as `Segmenter` takes it, for each machine: a name that its cache knows, a file on a
            disk that all share, or a URL, which is fetched once a machine.
        column: which column holds the images.
        target: a column of paths or URLs that the results are written to, whole or not at all.
        style: what comes out.
        encoding: how it is written.
        batch: how many images may go through the graph at once.
        skip_existing: leave files alone whose result is there; of use with `target` only.
        max_pixels: a larger image is not read.
        opening: as `Segmenter` takes them; `threads` are by default the CPUs that Ray gives the
            actor (`num_cpus`).

    Raises:
        BirefnetError: as `Segmenter`; and OutputError, a style that the format can't hold.
    """

    def __init__(
        self,
        model: str = "nano",
        *,
        column: str = "bytes",
        target: str | None = None,
        style: Style | None = None,
        encoding: Encoding | None = None,
        batch: int = 1,
        skip_existing: bool = False,
        max_pixels: int | None = None,
        **opening: Unpack[Opening],
    ) -> None:
        settings = CutterSettings(
            model,
            with_threads(opening, assigned_cpus()),
            style=style or Style(),
            encoding=encoding or Encoding(),
            skip_existing=skip_existing,
            batch=batch,
            max_pixels=max_pixels,
        )
        check_style(settings.style, settings.encoding)
        self._column, self._target = column, target
        self._cutter = settings.open()

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Add the result's columns to a batch.

        Raises:
            KeyError: it has no such column.
        """
        images = batch[self._column]
        names = batch.get("path", [f"row {place}" for place in range(len(images))])
        targets = batch[self._target] if self._target else names
        jobs = [
            Job(_source(image, str(name)), self._place(str(target)), explicit=True)
            for image, name, target in zip(images, names, targets, strict=True)
        ]
        remote = any(isinstance(place, RemotePath) for job in jobs for place in _both(job))
        cutter = self._cutter
        if remote:
            cutter = replace(cutter, downloads=DOWNLOADS, uploads=UPLOADS)
        reports = list(reports_of(cutter, jobs))
        subjects = [report.subject for report in reports]
        added: dict[str, list[Any]] = {
            "found": [subject and subject.found for subject in subjects],
            "box": [subject and subject.box and list(subject.box) for subject in subjects],
            "share": [subject and subject.share for subject in subjects],
            "image_size": [report.image_size and list(report.image_size) for report in reports],
            "error": [str(report.error) if report.error else None for report in reports],
        }
        if not self._target:
            added["cutout"] = [_content(report) for report in reports]
        return {**batch, **{name: _objects(cells) for name, cells in added.items()}}

    def _place(self, target: str) -> Location:
        return parse_location(target) if self._target else InMemory(target)


def _source(image: Any, name: str) -> Location:
    """A cell's image: bytes, or where it lies."""
    if isinstance(image, bytes | bytearray | memoryview):
        return InMemory(name, bytes(image))
    return parse_location(str(image))


def _both(job: Job) -> tuple[Location, Location]:
    return job.source, job.target


def _content(report: FileReport) -> bytes | None:
    return report.job.target.content if isinstance(report.job.target, InMemory) else None


def _objects(cells: list[Any]) -> NDArray[np.object_]:
    """A column whose cells stay what they are, lists among them."""
    column = np.empty(len(cells), dtype=object)
    column[:] = cells
    return column
