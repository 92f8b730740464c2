"""ONNX Runtime, through our own runtime: any `.onnx` that it takes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
from birefnet_runtime import ProviderWarning, Segmenter, SizeWarning
from birefnet_runtime.model.graph_io import as_logits
from birefnet_runtime.session.memory import DEFAULT
from numpy.typing import NDArray

from ..configuration import Configuration
from .base import ALPHA, OUTPUT, Tensor


class OnnxRuntimeBackend:
    """A graph in a session on the provider that the configuration names, without a fallback."""

    def __init__(self, configuration: Configuration) -> None:
        warnings.simplefilter("ignore", SizeWarning)  # measured is time, not quality
        warnings.simplefilter("ignore", ProviderWarning)  # what ran where is among the facts
        self._segmenter = Segmenter(
            configuration.source,
            size=configuration.size,
            threads=configuration.threads,
            providers=configuration.provider,
            memory=DEFAULT,
        )

    def logits(self, image: Tensor) -> Tensor:
        if self._segmenter.metadata.output != ALPHA:
            return self._segmenter.logits(image)
        alphas = self._segmenter.batch(self._pixels(image))
        return as_logits(np.stack(alphas)[:, None])

    def _pixels(self, image: Tensor) -> Iterator[NDArray[np.uint8]]:
        """The images that a normalized tensor was made of, as far as 8 bits hold them."""
        metadata = self._segmenter.metadata
        std, mean = np.asarray(metadata.std, np.float32), np.asarray(metadata.mean, np.float32)
        shares = image.transpose(0, 2, 3, 1) * std + mean
        yield from np.asarray(np.rint(shares.clip(0, 1) * 255), np.uint8)

    def alpha(self, image: Path) -> Tensor:
        return self._segmenter.alpha(image)

    def facts(self) -> dict[str, str]:
        facts = {
            "onnxruntime": onnxruntime.__version__,
            OUTPUT: self._segmenter.metadata.output,
            "memory": DEFAULT,
        }
        session_info = self._segmenter.session_info
        if session_info and session_info.placement:
            for provider, operators in session_info.placement.operators.items():
                facts[f"nodes on {provider}"] = str(sum(dict(operators).values()))
        if session_info and (notes := session_info.notes()):
            facts["notes"] = "; ".join(notes)
        return facts
