"""What commands do to have a model on this machine: fetch it, with a bar, if its name says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from birefnet_models.ready_made.fetching import Fetching
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from ..storage.models import find_any_model
from .progress import console, say

if TYPE_CHECKING:
    from birefnet_models.http.download import Progress

MODEL_HELP = (
    "A name from `birefnet models`, an .onnx file, a directory that holds one, or what is fetched "
    "once: OWNER/NAME[@REVISION][:PRECISION] of the hub, or the URL of an .onnx."
)


def located(model: str | Path) -> Path:
    """The file of a model; errors are those of `find_model`."""
    with fetch_bar() as progress:
        return find_any_model(model, Fetching(say=say, progress=progress))


@contextmanager
def fetch_bar() -> Iterator[Progress | None]:
    """A progress bar for downloads on a terminal; None elsewhere."""
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("fetching"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console, transient=True) as bars:
        task = bars.add_task("fetching", visible=False)

        def show(have: int, total: int | None) -> None:
            bars.update(task, completed=have, total=total, visible=have != total)

        yield show
