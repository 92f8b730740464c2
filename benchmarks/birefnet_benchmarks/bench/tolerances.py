"""What passes against a baseline in float32, by the precision in which a row computes."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from birefnet_export.parity.logits import FLOAT32_TOLERANCES, GraphTolerance
from birefnet_export.parity.masks import MASK_TOLERANCES, MaskTolerance

from .configuration import Row


def of_graph(row: Row, gives_mask: bool) -> GraphTolerance:
    """For the same tensor through both. A graph that gives a mask is judged by its mask alone:
    where that is 0 or 1 its logits are infinite."""
    tolerance = FLOAT32_TOLERANCES[precision_of(row)]
    return replace(tolerance, logits_max_abs=inf) if gives_mask else tolerance


def of_pipeline(row: Row) -> MaskTolerance:
    """For the same image file through both."""
    return MASK_TOLERANCES[precision_of(row)]


def precision_of(row: Row) -> str:
    """In which precision a row computes: a provider may compute in another than the graph's."""
    words = set(row.provider.split(":")[1:])
    if "bf16" in words:
        return "bf16"
    return "fp16" if row.precision == "fp32" and words & {"fp16", "f16", "tf32"} else row.precision
