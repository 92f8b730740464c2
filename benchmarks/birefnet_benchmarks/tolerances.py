"""What passes against a baseline in float32, which rounds as well, by precision.

fp32: on `nano` PyTorch's own float32 logits were 1.9e-4 from its float64 ones. bf16: eight times
what fp16 may differ by, since it has three bits less. Pipelines: what is left of a mask that has
8-bit levels in the end.
"""

from birefnet_export.mask_parity import MaskTolerance
from birefnet_export.parity import TOLERANCES, Tolerance

from .row import Row

GRAPH = TOLERANCES | {
    "fp32": Tolerance(logits_max_abs=1e-3, mask_max_abs=1e-3),
    "bf16": Tolerance(mask_max_abs=0.4, mask_mean_abs=4e-2),
}
PIPELINE = {
    "fp32": MaskTolerance(max_levels=1),
    "fp16": MaskTolerance(iou=0.99, boundary_iou=0.98, mae=0.002),
    "bf16": MaskTolerance(iou=0.99, boundary_iou=0.95, mae=0.005),
    "int8": MaskTolerance(iou=0.98, boundary_iou=0.9, mae=0.01),
}


def precision_of(row: Row) -> str:
    """In which precision a row computes: a provider may compute in another than the graph's."""
    words = set(row.provider.split(":")[1:])
    if "bf16" in words:
        return "bf16"
    return "fp16" if row.precision == "fp32" and words & {"fp16", "f16", "tf32"} else row.precision
