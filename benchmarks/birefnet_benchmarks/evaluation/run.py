"""A model run over images whose masks are known: every image's scores, and those of all."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from birefnet_models.errors import BirefnetError
from birefnet_models.text import format_size
from birefnet_runtime import ImageError, Prepared, Segmenter, read_image
from birefnet_runtime.cutout.compose import shown_alpha
from birefnet_runtime.images.picture import quantize, to_eight_bits
from birefnet_runtime.images.read import pixels_of
from birefnet_runtime.machine.pipeline import overlap
from numpy.typing import NDArray

from ..errors import DatasetError
from .contact_sheet import Case, thumbnails
from .dataset import Pair, read_mask
from .quality import Tally

_WEIGHT = 5
"""Scoring takes about this many times the memory that a picture does in a cutout."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one image. Sizes are (height, width) in pixels.

    Attributes:
        pair: the image and its mask.
        error: why it has no scores.
        image_size: its own.
        model_size: at which the network ran.
        levels: the darkest and the brightest that was found, 0–255, before they are stretched.
        scores: every metric by its key.
        tally: the same, to be merged; None once it was.
        case: pictures for the contact sheet; None where none are wanted.
    """

    pair: Pair
    error: BirefnetError | None = None
    image_size: tuple[int, int] | None = None
    model_size: tuple[int, int] | None = None
    levels: tuple[int, int] | None = None
    scores: dict[str, float] = field(default_factory=dict)
    tally: Tally | None = None
    case: Case | None = None


@dataclass(frozen=True, slots=True)
class _Read:
    """A pair in memory."""

    pair: Pair
    prepared: Prepared
    expected: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Evaluator:
    """How pairs are scored.

    Attributes:
        segmenter: the open model.
        efforts: count human correction efforts, too.
        pictures: keep what the contact sheet needs.
    """

    segmenter: Segmenter
    efforts: bool = False
    pictures: bool = False

    def score(
        self, pairs: Sequence[Pair], *, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Outcome]:
        """Score pairs: reading, the network and the metrics overlap, and memory stays bounded.

        Args:
            pairs: images with their masks.
            stopped: asked before each pair; once true, those in hand are finished, the rest left.

        Yields:
            An outcome of each, in order. A pair that fails has an error in it; the others go on.
        """
        return overlap(
            pairs,
            self._read,
            self._run,
            self._score,
            failed=_failed,
            weigh=lambda pair: _WEIGHT * pixels_of(pair.image),
            stopped=stopped,
        )

    def _read(self, pair: Pair) -> _Read:
        picture, expected = read_image(pair.image), read_mask(pair.mask)
        if picture.size != expected.shape:
            raise ImageError(
                f"{pair.mask}: the mask is {format_size(expected.shape)}, and the image "
                f"{pair.image} is {format_size(picture.size)}"
            )
        return _Read(pair, self.segmenter.prepare(picture), expected)

    def _run(self, read: Sequence[_Read]) -> list[NDArray[np.float32]]:
        return self.segmenter.run([each.prepared for each in read])

    def _score(self, read: _Read, logits: NDArray[np.float32]) -> Outcome:
        pair, picture, expected = read.pair, read.prepared.picture, read.expected
        alpha = shown_alpha(picture, self.segmenter.finish(read.prepared, logits))
        found = np.asarray(quantize(alpha, 8), np.uint8)
        tally = Tally(self.efforts)
        try:
            tally.add(found, expected)
        except DatasetError as error:
            raise DatasetError(f"{pair.mask}: {error}") from error
        scores = tally.scores()
        case = None
        if self.pictures:
            drawn = thumbnails(to_eight_bits(picture.pixels), expected, found)
            case = Case(f"{pair.subset}/{pair.name}", caption(scores), drawn)
        return Outcome(
            pair,
            image_size=picture.size,
            model_size=self.segmenter.model_size(picture.size),
            levels=(int(found.min()), int(found.max())),
            scores=scores,
            tally=tally,
            case=case,
        )


def _failed(pair: Pair, error: Exception) -> Outcome:
    if not isinstance(error, BirefnetError):
        error = ImageError(f"{pair.image}: not enough memory to score it")
    return Outcome(pair, error)


def caption(scores: dict[str, float]) -> str:
    """`S 0.912   wF 0.870 ...`: what is said of an image on the contact sheet."""
    shown = {"S": "s_measure", "wF": "weighted_f", "IoU": "iou", "MAE": "mae"}
    return "   ".join(f"{label} {scores[key]:.3f}" for label, key in shown.items())


class Evaluation:
    """What the outcomes add up to.

    Args:
        subsets: names of the parts that are added up for themselves, in order.
        worst: how many of the worst cases are kept, by their S-measure.
        efforts: as `Tally` has it.
    """

    def __init__(self, subsets: Sequence[str], worst: int = 0, efforts: bool = False) -> None:
        self.outcomes: list[Outcome] = []
        self.parts = {name: Tally(efforts) for name in subsets}
        self.overall = Tally(efforts)
        self._keep = worst
        self._worst: list[tuple[float, int, Case]] = []

    def add(self, outcome: Outcome) -> None:
        """Take the next outcome in; its pictures are kept only while it is among the worst."""
        if outcome.tally is not None:
            self.parts[outcome.pair.subset].merge(outcome.tally)
            self.overall.merge(outcome.tally)
        if outcome.case is not None:
            # The heap's least is the best of the worst. Ties go to the earlier image.
            entry = (-outcome.scores["s_measure"], -len(self.outcomes), outcome.case)
            heapq.heappush(self._worst, entry)
            if len(self._worst) > self._keep:
                heapq.heappop(self._worst)
        self.outcomes.append(replace(outcome, tally=None, case=None))

    @property
    def failures(self) -> list[Outcome]:
        """Outcomes without scores."""
        return [outcome for outcome in self.outcomes if outcome.error is not None]

    def worst(self) -> list[Case]:
        """The worst cases, the very worst first."""
        return [case for _, _, case in sorted(self._worst, key=lambda kept: kept[:2], reverse=True)]

    def model_size(self) -> tuple[int, int] | None:
        """(height, width) that the network ran at; None where that differed, or nothing ran."""
        sizes = {outcome.model_size for outcome in self.outcomes if outcome.scores}
        return sizes.pop() if len(sizes) == 1 else None

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row an image, as the table of files has it."""
        for outcome in self.outcomes:
            height, width = outcome.image_size or ("", "")
            darkest, brightest = outcome.levels or ("", "")
            yield {
                "subset": outcome.pair.subset,
                "name": outcome.pair.name,
                "image": str(outcome.pair.image),
                "mask": str(outcome.pair.mask),
                "height": height,
                "width": width,
                "model_size": format_size(outcome.model_size or ()),
                "darkest": darkest,
                "brightest": brightest,
                **outcome.scores,
                "error": "" if outcome.error is None else str(outcome.error),
            }
