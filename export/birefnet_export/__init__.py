"""Checkpoint in, verified ONNX file out. Importing this package does not import onnx."""

from typing import TYPE_CHECKING

from birefnet_models.base.lazy import lazily

if TYPE_CHECKING:
    from birefnet_models.base.errors import (
        BirefnetError,
        FetchError,
        LicenseError,
        MissingExtraError,
        OnnxFileError,
        PinError,
    )
    from birefnet_models.base.version import __version__
    from birefnet_models.pins import FetchOptions

    from .checkpoint.fetch import LocalCheckpoint, fetch
    from .errors import (
        ArchitectureError,
        CheckpointError,
        ExportError,
        GraphError,
        ParityError,
        PrecisionError,
    )
    from .export import export_onnx, export_precisions
    from .inspection import CheckpointFacts, OnnxFacts, inspect_file
    from .network.architecture import Architecture
    from .options import ExportReport
    from .verify.logits import Parity

__all__ = [
    "Architecture",
    "ArchitectureError",
    "BirefnetError",
    "CheckpointError",
    "CheckpointFacts",
    "ExportError",
    "ExportReport",
    "FetchError",
    "FetchOptions",
    "GraphError",
    "LicenseError",
    "LocalCheckpoint",
    "MissingExtraError",
    "OnnxFacts",
    "OnnxFileError",
    "Parity",
    "ParityError",
    "PinError",
    "PrecisionError",
    "__version__",
    "export_onnx",
    "export_precisions",
    "fetch",
    "inspect_file",
]

__getattr__ = lazily(
    __name__,
    {
        "birefnet_models.base.errors": (
            "BirefnetError FetchError LicenseError MissingExtraError OnnxFileError PinError"
        ),
        "birefnet_models.base.version": "__version__",
        "birefnet_models.pins": "FetchOptions",
        ".checkpoint.fetch": "LocalCheckpoint fetch",
        ".errors": (
            "ArchitectureError CheckpointError ExportError GraphError ParityError PrecisionError"
        ),
        ".export": "export_onnx export_precisions",
        ".inspection": "CheckpointFacts OnnxFacts inspect_file",
        ".network.architecture": "Architecture",
        ".options": "ExportReport",
        ".verify.logits": "Parity",
    },
)
