"""Image in, alpha out."""

from birefnet_models.errors import BirefnetError

from .errors import (
    ImageError,
    MemoryLimitError,
    MemoryWarning,
    MissingExtraError,
    ModelError,
    OutputError,
    ProviderError,
    ProviderWarning,
    SizeError,
    SizeWarning,
)
from .memory import Memory
from .metadata import ModelMetadata
from .providers import Cpu, Cuda, OpenVINO, TensorRT
from .segmenter import Segmenter
from .session import Session
from .sizing import Size

__all__ = [
    "BirefnetError",
    "Cpu",
    "Cuda",
    "ImageError",
    "Memory",
    "MemoryLimitError",
    "MemoryWarning",
    "MissingExtraError",
    "ModelError",
    "ModelMetadata",
    "OpenVINO",
    "OutputError",
    "ProviderError",
    "ProviderWarning",
    "Segmenter",
    "Session",
    "Size",
    "SizeError",
    "SizeWarning",
    "TensorRT",
]
