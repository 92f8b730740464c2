"""Is the graph the checkpoint? The same tensors through ONNX Runtime and through PyTorch.

PyTorch computes in float64 here. In float32 its own rounding is as large as what is looked for: on
`nano` PyTorch's float32 logits were 1.9e-4 from its float64 ones at 2x224x160, ONNX Runtime's 4e-5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from birefnet_runtime.session.open import open_session
from torch import nn

from ..errors import ParityError
from ..graph.signature import INPUT
from ..parity.logits import TOLERANCES, Array, GraphTolerance, InputShape, Parity, compare_logits
from ..parity.sample_tensors import INPUT_SHAPES, sample_image


def check_export(
    file: Path,
    net: nn.Module,
    tolerance: GraphTolerance = TOLERANCES["fp32"],
    shapes: Sequence[InputShape] = INPUT_SHAPES,
) -> Parity:
    """Run an exported `.onnx` file and the PyTorch module `net` on the same tensors.

    The module is raised to float64 in place.

    Raises:
        ParityError: a difference is beyond `tolerance`, logits are not finite or of
            another shape, or there is nothing to compare.
    """
    session = open_session(file)
    parity = logits_parity(
        lambda image: np.asarray(session.run(None, {INPUT.name: image})[0]), net.double(), shapes
    )
    tolerance.check(parity)
    return parity


def logits_parity(
    graph: Callable[[Array], Array],
    net: nn.Module,
    shapes: Sequence[InputShape],
    name: str | None = None,
) -> Parity:
    """Compare the logits of a graph and a module in float64 on the sample tensor of each shape.

    Args:
        graph: float32 (batch, 3, height, width) to logits (batch, 1, height, width), in ONNX
            Runtime.
        net: the same in float64.
        shapes: of the sample tensors.
        name: of the module, for the report.

    Raises:
        ParityError: logits are not finite or differ in shape, or there is nothing to compare.
    """
    pairs: list[tuple[Array, Array]] = []
    for shape in shapes:
        image = sample_image(shape)
        with torch.inference_mode():
            expected = net(torch.from_numpy(image).double()).numpy()
        if expected.ndim != 4:
            raise ParityError(f"the reference gives {expected.shape} for {image.shape}")
        pairs.append((graph(image), np.asarray(expected)))
    return compare_logits(
        pairs,
        shapes,
        reference=f"{name + ', ' if name else ''}pytorch {torch.__version__} in float64",
        runtime=f"onnxruntime {onnxruntime.__version__}",
    )
