"""What the process of a configuration needs of a backend."""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name
from typing import Protocol

import numpy as np
from birefnet_models.base.extras import missing_extra
from numpy.typing import NDArray

from ...errors import BenchmarkError
from ..configuration import Configuration

Tensor = NDArray[np.float32]

BACKENDS = {
    "onnxruntime": "birefnet_benchmarks.bench.backends.onnxruntime:OnnxRuntimeBackend",
    "pytorch": "birefnet_benchmarks.bench.backends.pytorch:PyTorchBackend",
}


OUTPUT, MASK, ALPHA = "output", "mask", "alpha"
"""A fact, and its values for a network that gives a mask and no logits, and for a graph from pixels
to 8-bit alpha."""


class Backend(Protocol):
    """An open model. Made from its configuration, in a process that runs nothing else.

    `MODULE:CLASS` names any class like this one, so a backend of your own can be measured
    beside ours: `birefnet bench lite --backend mine:Backend`.
    """

    def __init__(self, configuration: Configuration) -> None:
        """Open `configuration.source` as the rest of it says, or raise any exception."""

    def logits(self, image: Tensor) -> Tensor:
        """Run the network once.

        Args:
            image: float32 (batch, 3, height, width), normalized RGB, in host memory.

        Returns:
            float32 (batch, 1, height, width), in host memory: whatever device did the work has
            finished when this returns, which is what makes the clock honest. Of a network that
            gives a mask, the mask's logits.
        """

    def alpha(self, image: Path) -> Tensor:
        """Run the whole pipeline on an image file: float32 (H, W) in [0, 1], at its own size."""

    def facts(self) -> dict[str, str]:
        """Facts for the report: versions, what ran where."""


def backend_class(name: str) -> type[Backend]:
    """Import a backend by its name in `BACKENDS`, or as `MODULE:CLASS`.

    Raises:
        BenchmarkError: there is no such backend.
        MissingExtraError: it is one of ours, and its package is not installed.
    """
    try:
        backend: type[Backend] = resolve_name(BACKENDS.get(name, name))
    except (ImportError, AttributeError, ValueError) as error:
        if isinstance(error, ModuleNotFoundError) and (missing := missing_extra(error.name)):
            raise missing from error
        known = ", ".join(BACKENDS)
        raise BenchmarkError(
            f"{name}: can't be imported as a backend: {error}; there are {known}, and MODULE:CLASS "
            "for your own"
        ) from error
    return backend
