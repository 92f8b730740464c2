"""Outputs of configurations compared with their baseline's, in two separate measures.

The graph: the same tensor through both. The pipeline: the same image files through both. The
tolerance depends on the precision in which a configuration computes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from math import inf
from pathlib import Path

import numpy as np
from birefnet_export.errors import ParityError
from birefnet_export.verify.logits import (
    FLOAT32_TOLERANCES,
    LogitsTolerance,
    Parity,
    compare_logits,
)
from birefnet_export.verify.masks import compare_masks, mask_tolerance
from birefnet_models.base.text import format_size
from birefnet_runtime.session.providers import PROVIDER_RECORDS, canonical

from ..errors import MeasurementError
from .backends.base import ALPHA, MASK, OUTPUT, Tensor
from .configuration import Configuration
from .measure.process import ConfigurationProcess
from .previews import save_difference, save_mask, save_preview
from .results import (
    PICTURES_FOLDER,
    ConfigurationResult,
    GraphParity,
    PipelineParity,
    Preview,
    TensorDifference,
)


class AccuracyCheck:
    """Compares the configurations of one workload with their baseline, which comes first.

    Args:
        images: files that go through whole pipelines; larger batches than 1 take none.
        directory: the run's folder, for `pictures/`.
        scratch: a folder for files that only last as long as the workload.
    """

    def __init__(self, images: Sequence[Path], directory: Path, scratch: Path) -> None:
        self._images = images
        self._directory = directory
        self._scratch = scratch
        self._logits: Tensor | None = None
        self._alphas: dict[Path, Tensor] = {}

    def compare(
        self, process: ConfigurationProcess, result: ConfigurationResult
    ) -> ConfigurationResult:
        """Run the configuration once more for its outputs, and compare them.

        Returns:
            The result with its parities and previews.

        Raises:
            MeasurementError: the run fails, or gives NaN or another shape than the baseline's.
        """
        configuration = result.configuration
        try:
            logits = self._output(process, "logits")
            result = replace(result, graph=self._graph_parity(logits, result))
            if configuration.baseline:
                self._logits = logits
            if configuration.batch > 1:
                return result
            previews = tuple(
                self._preview(result, image, self._output(process, "alpha", image=str(image)))
                for image in self._images
            )
        except ParityError as error:
            raise MeasurementError(f"can't be compared: {error}") from error
        return replace(result, previews=previews)

    def _output(self, process: ConfigurationProcess, request: str, **arguments: str) -> Tensor:
        file = self._scratch / "output.npy"
        process.ask(request, file=str(file), **arguments)
        return np.asarray(np.load(file), np.float32)

    def _graph_parity(self, logits: Tensor, result: ConfigurationResult) -> GraphParity | None:
        if self._logits is None:
            return None
        configuration = result.configuration
        shape = (configuration.batch, *configuration.size)
        parity = compare_logits([(logits, self._logits)], [shape], reference="", runtime="")
        tolerance = graph_tolerance(configuration, result.facts.get(OUTPUT))
        return GraphParity(
            logits=_difference(parity, "logits"),
            mask=_difference(parity, "mask"),
            problem=tolerance.problem(parity),
        )

    def _preview(self, result: ConfigurationResult, image: Path, alpha: Tensor) -> Preview:
        """Save the pictures of one image file's alpha, and compare it with the baseline's."""
        configuration = result.configuration
        folder = f"{PICTURES_FOLDER}/{folder_name(configuration)}"
        preview = Preview(
            image.name, f"{PICTURES_FOLDER}/{image.stem}.jpg", f"{folder}/{image.stem}.png"
        )
        if not (self._directory / preview.thumbnail).exists():
            save_preview(image, self._directory / preview.thumbnail)
        save_mask(alpha, self._directory / preview.mask)
        if configuration.baseline:
            self._alphas[image] = alpha
            return preview
        if (expected := self._alphas.get(image)) is None:
            return preview
        difference = f"{folder}/{image.stem}-difference.png"
        save_difference(alpha, expected, self._directory / difference)
        parity = compare_masks(alpha, expected)
        numbers = {name: value for name, value in asdict(parity).items() if name != "size"}
        gives_alpha = result.facts.get(OUTPUT) == ALPHA
        tolerance = mask_tolerance(computed_precision(configuration), gives_alpha)
        problem = tolerance.problem(parity)
        return replace(
            preview, difference=difference, parity=PipelineParity(**numbers, problem=problem)
        )


def _difference(parity: Parity, tensor: str) -> TensorDifference:
    return TensorDifference(
        *(getattr(parity, f"{tensor}_{how}_abs") for how in ("max", "p99", "mean"))
    )


def folder_name(configuration: Configuration) -> str:
    """A name for the files of a configuration: letters, digits, dots, dashes."""
    size, threads = format_size(configuration.size), f"{configuration.threads}t"
    parts = (configuration.model, size, threads, *configuration.setup)
    return re.sub(r"[^\w.-]+", "_", "-".join(parts))


def graph_tolerance(configuration: Configuration, output: str | None) -> LogitsTolerance:
    """LogitsTolerance for the same tensor through a configuration and a float32 baseline.

    A graph that gives a mask is judged by its mask alone: where that is 0 or 1, its logits are
    infinite. One from pixels to alpha sees and gives 8 bits of what others compute in float32: it
    is judged by its pipeline.
    """
    if output == ALPHA:
        return LogitsTolerance()
    tolerance = FLOAT32_TOLERANCES[computed_precision(configuration)]
    return replace(tolerance, logits_max_abs=inf) if output == MASK else tolerance


def computed_precision(configuration: Configuration) -> str:
    """Precision of the computation, which a provider may lower below the graph's.

    In which one those compute that have no record of their own isn't known: half is what they may.
    """
    name = canonical(configuration.provider.partition(":")[0])
    if configuration.backend == "onnxruntime" and name not in PROVIDER_RECORDS:
        return "fp16" if configuration.precision == "fp32" else configuration.precision
    options = set(configuration.provider.split(":")[1:])
    if "bf16" in options:
        return "bf16"
    if configuration.precision == "fp32" and options & {"fp16", "f16", "tf32"}:
        return "fp16"
    return configuration.precision
