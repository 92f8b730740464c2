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
from birefnet_runtime.session import open_session
from torch import nn

from .parity import Array, Case, Parity, Tolerance, compare
from .signature import INPUT

CASES: tuple[Case, ...] = ((1, 32, 32), (1, 96, 160), (2, 224, 160), (1, 256, 256), (1, 192, 352))
"""The smallest size, odd and even multiples of 32, both orientations, a batch."""
TOLERANCES = {
    "fp32": Tolerance(logits_max_abs=1e-4),
    "fp16": Tolerance(mask_max_abs=5e-2, mask_mean_abs=5e-3),
    "int8": Tolerance(mask_mean_abs=5e-2),
}
"""What passes, by precision.

int8 is judged here on whether it is the same network at all: calibrated on photographs, it is at
its worst on drawn pictures. How good its masks are is measured on the photographs (`precision`).
"""


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


def sample_image(case: Case) -> Array:
    """A normalised picture of sorts: smooth shapes under noise, drawn from the case's own seed."""
    batch, height, width = case
    rng = np.random.default_rng(case)
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    centre = rng.uniform(-0.5, 0.5, (2, batch, 3, 1, 1))
    blob = np.exp(-4 * ((y - centre[0]) ** 2 + (x - centre[1]) ** 2))
    noise = rng.standard_normal((batch, 3, height, width))
    return np.asarray(4 * blob - 1.5 + 0.1 * noise, np.float32)
