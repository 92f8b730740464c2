"""Checkpoint in, verified ONNX file out. Importing this package does not import torch."""

from .config import Architecture
from .errors import ArchitectureError, CheckpointError, ExportError, GraphError, ParityError
from .export import ExportReport, export_onnx
from .parity import Parity

__all__ = [
    "Architecture",
    "ArchitectureError",
    "CheckpointError",
    "ExportError",
    "ExportReport",
    "GraphError",
    "Parity",
    "ParityError",
    "export_onnx",
]
