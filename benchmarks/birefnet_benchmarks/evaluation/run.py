"""Run a model over images whose masks are known: every image's scores, and those of all."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from birefnet_models.base.errors import BirefnetError
from birefnet_models.base.text import format_size
from birefnet_runtime import ImageError, Prepared, Segmenter, read_image
from birefnet_runtime.cutout.compose import shown_alpha
from birefnet_runtime.cutout.refine import Prediction
from birefnet_runtime.images.picture import quantize, to_eight_bits
from birefnet_runtime.images.read import pixels_of
from birefnet_runtime.pipeline import CAPACITY, overlap
from numpy.typing import NDArray

from ..errors import DatasetError
from .contact_sheet import SheetRow, thumbnails
from .dataset import Sample, read_mask
from .quality import Tally

_BYTES_PER_PIXEL = 55
"""What scoring takes, about five times as much as a cutout."""


@dataclass(frozen=True, slots=True)
class ImageResult:
    """Result of one image. Sizes are (height, width) in pixels.

    Attributes:
        sample: the image and its mask.
        error: why it has no scores.
        image_size: its own.
        model_size: at which the network ran.
        levels: darkest and brightest level of the mask, 0–255, before it is stretched.
        scores: every metric by its key.
        tally: the same, to be merged; None once it was.
        row: of the contact sheet; None without pictures.
    """

    sample: Sample
    error: BirefnetError | None = None
    image_size: tuple[int, int] | None = None
    model_size: tuple[int, int] | None = None
    levels: tuple[int, int] | None = None
    scores: dict[str, float] = field(default_factory=dict)
    tally: Tally | None = None
    row: SheetRow | None = None


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A sample in memory."""

    sample: Sample
    prepared: Prepared
    truth: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Scores samples.

    Attributes:
        segmenter: the open model.
        efforts: count human correction efforts, too.
        pictures: draw rows for the contact sheet.
    """

    segmenter: Segmenter
    efforts: bool = False
    pictures: bool = False

    def score(
        self, samples: Sequence[Sample], *, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[ImageResult]:
        """Score samples: reading, the network and the metrics overlap, and memory stays bounded.

        Args:
            samples: images with their masks.
            stopped: asked before each sample; once true, those in hand are finished, the rest left.

        Yields:
            The result of each, in order. Of a sample that fails it is an error; the others go on.
        """
        left = self.segmenter.memory_left
        return overlap(
            samples,
            self._load,
            self._run,
            self._score,
            failed=_failed,
            weigh=lambda sample: _BYTES_PER_PIXEL * pixels_of(sample.image),
            capacity=CAPACITY if left is None else left,
            stopped=stopped,
        )

    def _load(self, sample: Sample) -> _Loaded:
        picture, truth = read_image(sample.image), read_mask(sample.mask)
        if picture.size != truth.shape:
            raise ImageError(
                f"{sample.mask}: the mask is {format_size(truth.shape)}, and the image "
                f"{sample.image} is {format_size(picture.size)}"
            )
        return _Loaded(sample, self.segmenter.prepare(picture), truth)

    def _run(self, loaded: Sequence[_Loaded]) -> list[Prediction]:
        return self.segmenter.run([sample.prepared for sample in loaded])

    def _score(self, loaded: _Loaded, prediction: Prediction) -> ImageResult:
        sample, picture, truth = loaded.sample, loaded.prepared.picture, loaded.truth
        alpha = shown_alpha(picture, self.segmenter.finish(loaded.prepared, prediction))
        mask = np.asarray(quantize(alpha, 8), np.uint8)
        tally = Tally(self.efforts)
        try:
            tally.add(mask, truth)
        except DatasetError as error:
            raise DatasetError(f"{sample.mask}: {error}") from error
        scores = tally.scores()
        row = None
        if self.pictures:
            drawn = thumbnails(to_eight_bits(picture.pixels), truth, mask)
            row = SheetRow(f"{sample.subset}/{sample.name}", score_caption(scores), drawn)
        return ImageResult(
            sample,
            image_size=picture.size,
            model_size=self.segmenter.model_size(picture.size),
            levels=(int(mask.min()), int(mask.max())),
            scores=scores,
            tally=tally,
            row=row,
        )


def _failed(sample: Sample, error: Exception) -> ImageResult:
    if not isinstance(error, BirefnetError):
        error = ImageError(f"{sample.image}: not enough memory to score it")
    return ImageResult(sample, error)


def score_caption(scores: dict[str, float]) -> str:
    """`S 0.912   wF 0.870 ...`: an image's scores on the contact sheet."""
    shown = {"S": "s_measure", "wF": "weighted_f", "IoU": "iou", "MAE": "mae"}
    return "   ".join(f"{label} {scores[key]:.3f}" for label, key in shown.items())


class Evaluation:
    """The results of all images, added up.

    Args:
        subsets: names of the parts that are added up for themselves, in order.
        worst: how many rows of the contact sheet are kept: those of the lowest S-measure.
        efforts: as `Tally` has it.
    """

    def __init__(self, subsets: Sequence[str], worst: int = 0, efforts: bool = False) -> None:
        self.results: list[ImageResult] = []
        self.parts = {name: Tally(efforts) for name in subsets}
        self.overall = Tally(efforts)
        self._keep = worst
        self._worst: list[tuple[float, int, SheetRow]] = []

    def add(self, result: ImageResult) -> None:
        """Add the next result; its pictures are kept only while it is among the worst."""
        if result.tally is not None:
            self.parts[result.sample.subset].merge(result.tally)
            self.overall.merge(result.tally)
        if result.row is not None:
            # The heap's least is the best of the worst. Ties go to the earlier image.
            entry = (-result.scores["s_measure"], -len(self.results), result.row)
            heapq.heappush(self._worst, entry)
            if len(self._worst) > self._keep:
                heapq.heappop(self._worst)
        self.results.append(replace(result, tally=None, row=None))

    @property
    def failures(self) -> list[ImageResult]:
        """Results that are errors."""
        return [result for result in self.results if result.error is not None]

    def worst(self) -> list[SheetRow]:
        """Rows of the contact sheet, the lowest S-measure first."""
        return [row for _, _, row in sorted(self._worst, key=lambda kept: kept[:2], reverse=True)]

    def model_size(self) -> tuple[int, int] | None:
        """(height, width) that the network ran at; None where that differed, or nothing ran."""
        sizes = {result.model_size for result in self.results if result.scores}
        return sizes.pop() if len(sizes) == 1 else None

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row of `scores.csv` for each image."""
        for result in self.results:
            height, width = result.image_size or ("", "")
            darkest, brightest = result.levels or ("", "")
            yield {
                "subset": result.sample.subset,
                "name": result.sample.name,
                "image": str(result.sample.image),
                "mask": str(result.sample.mask),
                "height": height,
                "width": width,
                "model_size": format_size(result.model_size or ()),
                "darkest": darkest,
                "brightest": brightest,
                **result.scores,
                "error": "" if result.error is None else str(result.error),
            }
