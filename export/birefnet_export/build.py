"""A model for whoever opens it: its checkpoint fetched, exported into the cache and verified.

`birefnet_runtime.model.build` finds this by the entry-point group `birefnet.builders`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from birefnet_models.base.text import format_seconds
from birefnet_models.pins import FetchOptions

from . import pipeline as pipeline  # what it needs is missed here, before anything is fetched
from .checkpoint.fetch import fetch
from .export import export_onnx


def build(checkpoint: str, precision: str, lowering: str | None, how: FetchOptions) -> Path:
    """The `.onnx` of a checkpoint, in the model's place in the cache.

    Args:
        checkpoint: a name of the zoo, or `OWNER/NAME`.
        precision: of `PRECISIONS`; int8 is made without images, of the matrix products alone.
        lowering: of `LOWERINGS`; None for the precision's own.
        how: how the checkpoint is fetched and pinned.

    Raises:
        BirefnetError: as `export_onnx` does.
    """
    say = how.say or (lambda _: None)
    fetch(checkpoint, how)
    say(f"{checkpoint} is made in {precision} from it, once on this machine")
    again = replace(how, update=False, say=None)  # it is here and pinned now
    report = export_onnx(checkpoint, precision=precision, lowering=lowering, fetching=again)
    seconds = format_seconds(report.build_s + report.verify_s)
    say(f"{checkpoint} took {seconds} with its check, and opens at once from now on")
    return report.file
