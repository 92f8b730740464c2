"""Is the graph the checkpoint? The same tensors through ONNX Runtime and through PyTorch.

PyTorch computes in float64 here. In float32 its own rounding is as large as what is looked for: on
`nano` PyTorch's float32 logits were 1.9e-4 from its float64 ones at 2x224x160, ONNX Runtime's 4e-5.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from birefnet_runtime.session.open import open_session
from torch import nn

from ..graph.signature import INPUT
from ..parity.logits import TOLERANCES, Array, Case, Parity, Tolerance, compare
from ..parity.sample_tensors import CASES, sample_image


def verify(
    path: Path,
    net: nn.Module,
    tolerance: Tolerance = TOLERANCES["fp32"],
    cases: Sequence[Case] = CASES,
) -> Parity:
    """Run the `.onnx` file at `path` and the PyTorch module `net` on the same tensors.

    The module is raised to float64 in place.

    Raises:
        ParityError: a difference is beyond `tolerance`, logits are not finite or of
            another shape, or there is nothing to compare.
    """
    session = open_session(path)
    net.double()
    pairs: list[tuple[Array, Array]] = []
    for case in cases:
        image = sample_image(case)
        (found,) = session.run(None, {INPUT.name: image})
        with torch.inference_mode():
            expected = net(torch.from_numpy(image).double()).numpy()
        pairs.append((np.asarray(found), expected))
    parity = compare(
        pairs,
        cases,
        reference=f"pytorch {torch.__version__} in float64",
        runtime=f"onnxruntime {onnxruntime.__version__}",
    )
    tolerance.check(parity)
    return parity
