"""How good a mask is, by the metrics of salient object detection, through PySODMetrics.

What is compared is what upstream's evaluation compares: an 8-bit mask at the ground truth's size,
stretched from its own darkest and brightest level to 0–1, against the ground truth above 128 of
255. Two figures come on top of the library's: boundary IoU, and the plain error of alpha.
"""

from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
from birefnet_export.verify.masks import boundary_iou
from numpy.typing import NDArray
from py_sod_metrics import (
    MAE,
    Emeasure,
    FmeasureHandler,
    FmeasureV2,
    HumanCorrectionEffortMeasure,
    IOUHandler,
    Smeasure,
    WeightedFmeasure,
)
from py_sod_metrics.utils import prepare_data

from ..errors import DatasetError

LIBRARY = f"pysodmetrics {version('pysodmetrics')}"


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a mask or of many.

    Attributes:
        key: its name in files.
        label: its name in tables.
        meaning: in one line.
        lower_is_better: errors; scores otherwise.
        published: its name in the zoo's scores; empty where nobody publishes it.
    """

    key: str
    label: str
    meaning: str
    lower_is_better: bool = False
    published: str = ""


METRICS = (
    Metric("s_measure", "S", "S-measure, alpha .5 (ICCV 2017)", published="S"),
    Metric("weighted_f", "wF", "weighted F-measure, beta 1 (CVPR 2014)", published="wF"),
    Metric("max_f", "max F", "F-measure, beta² .3, at the best of 256 thresholds"),
    Metric("mean_e", "mean E", "E-measure (IJCAI 2018), mean over 256 thresholds"),
    Metric("max_e", "max E", "E-measure, at the best of 256 thresholds"),
    Metric("mae", "MAE", "mean absolute error", lower_is_better=True, published="MAE"),
    Metric("iou", "mIoU", "intersection over union at .5"),
    Metric("boundary_iou", "bIoU", "the same within a band along the outlines (arXiv 2103.16562)"),
    Metric(
        "alpha_mae", "alpha MAE", "mean absolute error, nothing stretched", lower_is_better=True
    ),
)
EFFORTS = Metric(
    "hce", "HCE", "human correction efforts (ECCV 2022)", lower_is_better=True, published="HCE"
)


def metrics(efforts: bool = False) -> tuple[Metric, ...]:
    """The metrics that a `Tally` gives, in the order of tables."""
    return (*METRICS, EFFORTS) if efforts else METRICS


@dataclass(slots=True)
class Tally:
    """The scores of one image or of many, kept by the library's own objects.

    Of one image each figure is its own. Of many it is the mean over images, but for max F, mean E
    and max E: these are taken, as upstream takes them, from the mean of the images' curves over
    the thresholds, so max F of many is at most the mean of each image's max F.

    Attributes:
        efforts: whether human correction efforts are counted; takes longer than all the others.
        images: how many were added.
        empty: how many of these have a ground truth without a subject. The library's weighted F,
            F and IoU are then 0, whatever the mask.
        stretched: how many of the masks span more than one level and less than half of them.
    """

    efforts: bool = False
    images: int = 0
    empty: int = 0
    stretched: int = 0
    _structure: Smeasure = field(default_factory=Smeasure)
    _weighted: WeightedFmeasure = field(default_factory=WeightedFmeasure)
    _alignment: Emeasure = field(default_factory=Emeasure)
    _error: MAE = field(default_factory=MAE)
    _alpha_error: MAE = field(default_factory=MAE)
    _f: FmeasureHandler = field(default_factory=lambda: FmeasureHandler(True, False))
    _iou: IOUHandler = field(default_factory=lambda: IOUHandler(False, False, with_binary=True))
    _boundary: list[float] = field(default_factory=list)
    _effort: HumanCorrectionEffortMeasure = field(default_factory=HumanCorrectionEffortMeasure)

    def add(self, mask: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
        """Score a mask.

        Args:
            mask: uint8 (H, W), 0–255, as the model's pipeline gives it.
            truth: uint8 (H, W), 0–255, the ground truth; may be soft. Every figure but the
                plain error of alpha sees of it only what is above 128.

        Raises:
            DatasetError: a ground truth for which the library's S-measure is not a number.
        """
        stretched, subject = prepare_data(mask, truth)
        if not _has_quarters(subject):
            raise DatasetError(
                "the subject's center lies in the last row or column, where the S-measure, which "
                "cuts the image in four behind it, is not defined"
            )
        for metric in self._library:
            metric.step(stretched, subject, normalize=False)
        self._boundary.append(boundary_iou(stretched > 0.5, subject))
        self._alpha_error.maes.append(self._alpha_error.cal_mae(mask / 255, truth / 255))
        self.images += 1
        self.empty += not subject.any()
        self.stretched += 0 < int(mask.max()) - int(mask.min()) < 128

    def merge(self, other: "Tally") -> None:
        """Append the images of another tally, in its order."""
        for mine, others in zip(self._lists(), other._lists(), strict=True):
            mine.extend(others)
        self.images += other.images
        self.empty += other.empty
        self.stretched += other.stretched

    def scores(self) -> dict[str, float]:
        """Every metric by its key, each in [0, 1] but for `hce`, which counts clicks."""
        curve = self._alignment.get_results()["em"]["curve"]
        counts = self._counts.get_results()
        scores = {
            "s_measure": self._structure.get_results()["sm"],
            "weighted_f": self._weighted.get_results()["wfm"],
            "max_f": counts["f"]["dynamic"].max(),
            "mean_e": curve.mean(),
            "max_e": curve.max(),
            "mae": self._error.get_results()["mae"],
            "iou": counts["iou"]["binary"],
            "boundary_iou": np.mean(self._boundary),
            "alpha_mae": self._alpha_error.get_results()["mae"],
        }
        if self.efforts:
            scores["hce"] = self._effort.get_results()["hce"]
        return {key: float(value) for key, value in scores.items()}

    @property
    def _counts(self) -> FmeasureV2:
        return FmeasureV2({"f": self._f, "iou": self._iou})

    @property
    def _library(self) -> tuple[Any, ...]:
        """The library's objects that take pairs."""
        always = (self._structure, self._weighted, self._alignment, self._error, self._counts)
        return (*always, self._effort) if self.efforts else always

    def _lists(self) -> tuple[list[float], ...]:
        """Where the objects keep their figures, an entry an image."""
        return (
            self._structure.sms,
            self._weighted.weighted_fms,
            self._alignment.adaptive_ems,
            self._alignment.changeable_ems,
            self._error.maes,
            self._alpha_error.maes,
            self._f.dynamic_results,
            self._iou.binary_results,
            self._boundary,
            self._effort.hces,
        )


def _has_quarters(subject: NDArray[np.bool_]) -> bool:
    """Whether something is left of the image below and to the right of the subject's center."""
    if subject.all() or not subject.any():  # then no center is asked for
        return True
    center = (
        np.average(np.arange(side), weights=np.count_nonzero(subject, axis=other)).round()
        for side, other in zip(subject.shape, (1, 0), strict=True)
    )
    return all(place + 1 < side for place, side in zip(center, subject.shape, strict=True))
