"""Image in, alpha out."""

from birefnet_models.errors import BirefnetError

from birefnet_runtime.errors import (
    ImageError,
    MissingExtraError,
    ModelError,
    OutputError,
    ProviderError,
    SizeError,
    SizeWarning,
)
from birefnet_runtime.metadata import ModelMetadata
from birefnet_runtime.segmenter import Segmenter
from birefnet_runtime.session import Session
from birefnet_runtime.sizing import Size

__all__ = [
    "BirefnetError",
    "ImageError",
    "MissingExtraError",
    "ModelError",
    "ModelMetadata",
    "OutputError",
    "ProviderError",
    "Segmenter",
    "Session",
    "Size",
    "SizeError",
    "SizeWarning",
]
