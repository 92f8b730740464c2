"""Is the graph the checkpoint? The same tensors through ONNX Runtime and through the reference.

The reference computes in float64, with NumPy alone. In float32 its own rounding would be as large
as what is looked for: on `nano` PyTorch's float32 logits were 1.9e-4 from its float64 ones at
2x224x160, ONNX Runtime's 4e-5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from birefnet_runtime.machine import release_memory
from birefnet_runtime.session.open import open_session
from birefnet_runtime.session.providers import Cpu
from numpy.typing import NDArray

from ..errors import ParityError
from ..graph.signature import INPUT
from ..reference.birefnet import RememberedLogits
from .logits import (
    INPUT_SHAPES,
    LOGITS_TOLERANCES,
    Array,
    InputShape,
    LogitsTolerance,
    Parity,
    compare_logits,
    sample_image,
)
from .reference import COMPUTED_BY

RUN_ON = Cpu(prepack=False, kernels="off")
"""How graphs are run while they are proved: by ONNX Runtime's own kernels, whatever else is
installed, on weights as they lie in the file. Packed ones would be a second copy of them."""


def check_export(
    file: Path,
    reference: RememberedLogits,
    tolerance: LogitsTolerance = LOGITS_TOLERANCES["fp32"],
    shapes: Sequence[InputShape] = INPUT_SHAPES,
) -> Parity:
    """Run an exported `.onnx` file and the reference on the same tensors.

    The session is opened only when the reference has freed its memory.

    Raises:
        ParityError: a difference is beyond `tolerance`, logits are not finite or of another shape,
            or there is nothing to compare.
    """
    expected = [reference(sample_image(shape)) for shape in shapes]
    release_memory()
    session = open_session(file, cpu=RUN_ON, accepted=False)
    parity = logits_parity(
        lambda image: np.asarray(session.run(None, {INPUT.name: image})[0]), expected, shapes
    )
    tolerance.check(parity)
    return parity


def logits_parity(
    graph: Callable[[Array], Array],
    expected: Sequence[NDArray[np.floating[Any]]],
    shapes: Sequence[InputShape],
    reference: str = COMPUTED_BY,
) -> Parity:
    """Compare the logits of a graph with those of a reference on the sample tensor of each shape.

    Args:
        graph: float32 (batch, 3, height, width) to logits (batch, 1, height, width), in ONNX
            Runtime.
        expected: the reference's logits, float64 (batch, 1, height, width), for each shape.
        shapes: of the sample tensors.
        reference: what gave the expected logits, for the report.

    Raises:
        ParityError: logits are not finite or differ in shape, or there is nothing to compare.
    """
    pairs: list[tuple[Array, NDArray[np.floating[Any]]]] = []
    for shape, logits_of_shape in zip(shapes, expected, strict=True):
        image = sample_image(shape)
        if logits_of_shape.ndim != 4:
            raise ParityError(f"the reference gives {logits_of_shape.shape} for {image.shape}")
        pairs.append((graph(image), logits_of_shape))
    return compare_logits(
        pairs, shapes, reference=reference, runtime=f"onnxruntime {onnxruntime.__version__}"
    )
