"""What rows answer, held against what their baseline answers: two figures, never one.

The graph: the same tensor through both. The pipeline: the same image files through both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from birefnet_export.errors import ParityError
from birefnet_export.parity.logits import Parity, compare_logits
from birefnet_export.parity.masks import compare_masks

from ..errors import RowError
from .backends.base import MASK, OUTPUT, Tensor
from .measure.process import RowProcess
from .previews import save_difference, save_mask, save_preview
from .results import PICTURES, Difference, GraphParity, Outcome, Picture, PictureParity, Row
from .tolerances import of_graph, of_pipeline


class Answers:
    """Answers of one case. The baseline's are kept for the others.

    Args:
        images: files that go through whole pipelines; rows of larger batches take none.
        directory: the run's folder, for `pictures/`.
        scratch: a folder for what only lasts as long as the case.
    """

    def __init__(self, images: Sequence[Path], directory: Path, scratch: Path) -> None:
        self._images = images
        self._directory = directory
        self._scratch = scratch
        self._logits: Tensor | None = None
        self._alphas: dict[Path, Tensor] = {}

    def finish(self, row: Row, process: RowProcess, outcome: Outcome) -> Outcome:
        """Ask a row for its answers, and compare.

        Raises:
            RowError: it can't answer, or not with anything that can be compared: NaN, another
                shape.
        """
        try:
            logits = self._ask(process, "logits")
            outcome = replace(outcome, graph=self._graph(row, logits, outcome))
            if row.baseline:
                self._logits = logits
            if row.batch > 1:
                return outcome
            pictures = tuple(self._picture(row, process, image) for image in self._images)
        except ParityError as error:
            raise RowError(f"can't be compared: {error}") from error
        return replace(outcome, pictures=pictures)

    def _ask(self, process: RowProcess, verb: str, **arguments: str) -> Tensor:
        file = self._scratch / "answer.npy"
        process.ask(verb, file=str(file), **arguments)
        return np.asarray(np.load(file), np.float32)

    def _graph(self, row: Row, logits: Tensor, outcome: Outcome) -> GraphParity | None:
        if self._logits is None:
            return None
        parity = compare_logits(
            [(logits, self._logits)], [(row.batch, *row.size)], reference="", runtime=""
        )
        return GraphParity(
            logits=_difference(parity, "logits"),
            mask=_difference(parity, "mask"),
            problem=of_graph(row, outcome.facts.get(OUTPUT) == MASK).problem(parity),
        )

    def _picture(self, row: Row, process: RowProcess, image: Path) -> Picture:
        alpha = self._ask(process, "alpha", image=str(image))
        folder = f"{PICTURES}/{folder_name(row)}"
        preview, mask = f"{PICTURES}/{image.stem}.jpg", f"{folder}/{image.stem}.png"
        if not (self._directory / preview).exists():
            save_preview(image, self._directory / preview)
        save_mask(alpha, self._directory / mask)
        picture = Picture(image.name, preview, mask)
        if row.baseline:
            self._alphas[image] = alpha
        expected = self._alphas.get(image)
        if row.baseline or expected is None:
            return picture
        difference = f"{folder}/{image.stem}-difference.png"
        save_difference(alpha, expected, self._directory / difference)
        parity = compare_masks(alpha, expected)
        problem = of_pipeline(row).problem(parity)
        known = {key: value for key, value in asdict(parity).items() if key != "size"}
        return replace(
            picture, difference=difference, parity=PictureParity(**known, problem=problem)
        )


def _difference(parity: Parity, what: str) -> Difference:
    return Difference(*(getattr(parity, f"{what}_{how}_abs") for how in ("max", "p99", "mean")))


def folder_name(row: Row) -> str:
    """A name for the files of a row: letters, digits, dots, dashes."""
    height, width = row.size
    parts = (row.model, f"{height}x{width}", f"{row.threads}t", *row.way)
    return re.sub(r"[^\w.-]+", "_", "-".join(parts))
