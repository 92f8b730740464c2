"""Checkpoint in, verified ONNX file out. Importing this package does not import onnx."""

from birefnet_models.pins import FetchOptions

from .checkpoint.fetch import LocalCheckpoint, fetch
from .errors import (
    ArchitectureError,
    CheckpointError,
    ExportError,
    GraphError,
    ParityError,
)
from .export import export_onnx, export_precisions
from .inspection import CheckpointFacts, OnnxFacts, inspect_file
from .network.architecture import Architecture
from .options import ExportReport
from .verify.logits import Parity

__all__ = [
    "Architecture",
    "ArchitectureError",
    "CheckpointError",
    "CheckpointFacts",
    "ExportError",
    "ExportReport",
    "FetchOptions",
    "GraphError",
    "LocalCheckpoint",
    "OnnxFacts",
    "Parity",
    "ParityError",
    "export_onnx",
    "export_precisions",
    "fetch",
    "inspect_file",
]
