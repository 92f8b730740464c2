"""What an export can be asked for, and what it reports."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

from birefnet_models.cache import MODEL_OF_PRECISION
from birefnet_models.pins import FetchOptions

from .errors import ExportError
from .graph.lowering import LOWERINGS, Lowering
from .network.architecture import Architecture
from .precision.request import Precision
from .verify.alphas import AlphaParity
from .verify.headroom import HeadRoom
from .verify.logits import Parity
from .verify.quality import Quality

OPSETS = range(17, 24)
"""Opsets that can be asked for: LayerNormalization came with 17; 23 is the newest tried."""


DEFAULT_LOWERING = "rows"
PRECISIONS = tuple(MODEL_OF_PRECISION)
"""Of weights and arithmetic: fp32, fp16 for GPUs, int8 for CPUs."""


@dataclass(frozen=True, slots=True)
class GraphForm:
    """How the network is written as a graph."""

    lowering: Lowering
    opset: int


def graph_form(lowering: str | None, opset: int | None, precision: str) -> GraphForm:
    """The form that is asked for; what is None is the default for the precision.

    Raises:
        ExportError: there is no such lowering, or it can't be written in this opset.
    """
    if lowering is None:
        lowering = "native" if precision == "fp16" else DEFAULT_LOWERING
    if lowering not in LOWERINGS:
        raise ExportError(f"lowering {lowering!r} is unknown; choose from {', '.join(LOWERINGS)}")
    chosen = LOWERINGS[lowering]
    opset = chosen.default_opset if opset is None else opset
    if opset not in OPSETS or opset < chosen.first_opset:
        raise ExportError(
            f"opset {opset} is not supported with lowering {lowering}; "
            f"choose one from {chosen.first_opset} to {OPSETS[-1]}"
        )
    return GraphForm(chosen, opset)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What an export is asked for; `export_onnx` describes each."""

    form: GraphForm
    precision: Precision
    trained_size: tuple[int, int] | None = None
    """Height and width."""
    multi_scale: str | None = None
    verify: bool = True
    external_data: bool = False
    end_to_end: bool = False


class ExportOptions(TypedDict, total=False):
    """What an export can be asked for beside its precision; `export_onnx` describes each."""

    opset: int | None
    lowering: str | None
    verify: bool
    trained_size: tuple[int, int] | None
    external_data: bool
    calibrate: str | Path | None
    min_iou: float | None
    name: str | None
    multi_scale: str | None
    end_to_end: bool
    fetching: FetchOptions


@dataclass(frozen=True, slots=True)
class EndToEndReport:
    """The further file that takes pixels and gives alpha."""

    file: Path
    size: tuple[int, int]
    """(height, width) at which the network inside it runs."""
    file_bytes: int
    """WeightStore beside the graph included."""
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
    """WeightStore beside the graph included."""
    parity: Parity | None
    """None if the file was not verified."""
    quality: Quality | None
    """What int8 does to the masks of the calibration images, or fp16 to those of photographs; None
    where it wasn't measured."""
    headroom: HeadRoom | None
    """How near fp16's values come to where float16 ends; None where it wasn't measured."""
    warnings: tuple[str, ...]
    """Every Python warning on the way. The graph is built, not traced: no tracer adds to them."""
    build_s: float
    """Reading the checkpoint, building and checking the graph."""
    verify_s: float
    """Writing the files, and running both sides if they were compared."""
    peak_rss_bytes: int | None
    """The most memory that this process has held; None where the system doesn't say."""
    end_to_end: EndToEndReport | None = None
    """None if that file was not asked for."""
    name: str | None = None
    """What `Segmenter` and `cutout` find it by; None outside the cache."""

    @property
    def files(self) -> tuple[Path, ...]:
        """What was written: graphs, and weights beside them."""
        from .graph.save import model_files

        graphs = (self.file, *((self.end_to_end.file,) if self.end_to_end else ()))
        return tuple(path for graph in graphs for path in model_files(graph))

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
            "headroom": self.headroom and self.headroom.to_dict(),
            "files": [str(path) for path in self.files],
        }
