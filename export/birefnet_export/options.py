"""What an export can be asked for, and what it reports."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from birefnet_models.cache import MODEL_OF_PRECISION

from .network.architecture import Architecture
from .parity.alphas import AlphaParity
from .parity.logits import Parity
from .precision.mask_quality import Quality

OPSETS = range(17, 24)
"""Opsets that can be asked for: LayerNormalization came with 17; 23 is the newest tried."""


class LoweringOpsets(NamedTuple):
    """The opsets of a lowering."""

    first: int
    default: int


LOWERINGS = {
    "native": LoweringOpsets(19, 20),
    "rows": LoweringOpsets(19, 23),
    "gridsample": LoweringOpsets(17, 17),
}
"""How deformable convolutions are written.

- native: one `DeformConv` (opset 19) each; GELU is one operator from 20 on.
- rows: a large one as a sum of `DeformConv`s over rows of taps, for CPUs, where opset 23's
  `Attention` saves time as well.
- gridsample: `GridSample` and `MatMul`, for runtimes without `DeformConv`.
"""
DEFAULT_LOWERING = "rows"
PRECISIONS = tuple(MODEL_OF_PRECISION)
"""Of weights and arithmetic: fp32, fp16 for GPUs, int8 for CPUs."""


@dataclass(frozen=True, slots=True)
class EndToEndReport:
    """The further file that takes pixels and gives alpha."""

    file: Path
    size: tuple[int, int]
    """(height, width) at which the network inside it runs."""
    file_bytes: int
    """Weights beside the graph included."""
    parity: AlphaParity | None
    """Differences to the runtime's own steps; None if it was not verified."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """Result of an export: its file, how it was made, time and memory."""

    directory: Path
    file: Path
    arch: Architecture
    opset: int
    lowering: str
    precision: str
    nodes: int
    file_bytes: int
    """Weights beside the graph included."""
    parity: Parity | None
    """None if the file was not verified."""
    quality: Quality | None
    """What int8 does to the masks of the calibration images; None without any."""
    warnings: tuple[str, ...]
    """Every Python warning on the way. The graph is built, not traced: no tracer adds to them."""
    build_s: float
    """Reading the checkpoint, building, simplifying and checking the graph."""
    verify_s: float
    """Writing the files, and running both sides if they were compared."""
    peak_rss_bytes: int | None
    """The most memory that this process has held; None where the system doesn't say."""
    end_to_end: EndToEndReport | None = None
    """None if that file was not asked for."""
    name: str | None = None
    """What `Segmenter` and `cutout` find it by; None outside the cache."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        whole = self.end_to_end
        return {
            **asdict(self),
            "directory": str(self.directory),
            "file": str(self.file),
            "arch": self.arch.to_dict(),
            "backbone": self.arch.backbone.name,
            "end_to_end": whole and {**asdict(whole), "file": str(whole.file)},
        }
