"""Checkpoint in, verified ONNX file out. Importing this package does not import torch."""

from .config import Architecture
from .errors import (
    ArchitectureError,
    CheckpointError,
    ExportError,
    GraphError,
    ParityError,
    RemoteCodeError,
)
from .export import ExportReport, export_onnx
from .fetch import Fetched, Fetching, fetch
from .inspection import CheckpointFacts, OnnxFacts, inspect_file
from .parity import Parity

__all__ = [
    "Architecture",
    "ArchitectureError",
    "CheckpointError",
    "CheckpointFacts",
    "ExportError",
    "ExportReport",
    "Fetched",
    "Fetching",
    "GraphError",
    "OnnxFacts",
    "Parity",
    "ParityError",
    "RemoteCodeError",
    "export_onnx",
    "fetch",
    "inspect_file",
]
