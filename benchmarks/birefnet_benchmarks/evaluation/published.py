"""Scores that were published for a model on a data set, to be set beside those measured."""

from collections.abc import Mapping
from pathlib import Path

from birefnet_models import OnnxFileError, all_cards
from birefnet_models.base.names import METADATA_PREFIX
from birefnet_models.base.onnx_file import read_onnx
from birefnet_models.zoo import ModelCard, Score, lookup

from .quality import Metric


def card_of(file: Path, sha256: str) -> ModelCard | None:
    """The zoo's model that an `.onnx` file is: as the file says, or by its hash; None for others.

    Args:
        file: the `.onnx`.
        sha256: of the file, in hexadecimal.
    """
    try:
        name = read_onnx(file).properties.get(f"{METADATA_PREFIX}model")
    except OnnxFileError:  # some other format that ONNX Runtime knows
        name = None
    if name is not None:
        return lookup(name)
    return next((card for card in all_cards() if card.sha256 == sha256), None)


def published_scores(
    card: ModelCard | None,
    dataset: str,
    size: tuple[int, int] | None,
    metrics: tuple[Metric, ...],
) -> Mapping[str, Score]:
    """The zoo's scores of a model on a data set at this size, by the metric's key.

    A score whose source doesn't name a size counts as one at the trained size.

    Args:
        card: the model; one that is not known has no scores.
        dataset: its name, in any case.
        size: (height, width) that the network ran at; None where it differed from image to image,
            which nobody publishes scores of.
        metrics: those that are asked for.
    """
    if card is None or size is None:
        return {}
    keys = {metric.published: metric.key for metric in metrics if metric.published}
    scores: dict[str, Score] = {}
    for score in card.scores:
        same = score.dataset.lower() == dataset.lower() and size == (
            score.size or card.trained_size
        )
        if same and score.metric in keys:
            scores.setdefault(keys[score.metric], score)
    return scores
