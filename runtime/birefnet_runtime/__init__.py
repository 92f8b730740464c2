"""Image in, alpha out."""

from birefnet_models.errors import BirefnetError

from .errors import (
    ImageError,
    MissingExtraError,
    ModelError,
    OutputError,
    ProviderError,
    SizeError,
    SizeWarning,
)
from .metadata import ModelMetadata
from .segmenter import Segmenter
from .session import Session
from .sizing import Size

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
