"""Image in, alpha out."""

from birefnet_models.errors import BirefnetError

from .background import Background, Blur, Colour, Photograph
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
from .foreground import estimate_foreground
from .formats import Encoding, write_image
from .image_io import read_image
from .memory import Memory
from .metadata import ModelMetadata
from .picture import Picture
from .providers import Cpu, Cuda, OpenVINO, TensorRT
from .result import Result, Style, compose
from .segmenter import Segmenter
from .session import Session
from .sizing import Size
from .subject import Subject, find_subject

__all__ = [
    "Background",
    "BirefnetError",
    "Blur",
    "Colour",
    "Cpu",
    "Cuda",
    "Encoding",
    "ImageError",
    "Memory",
    "MemoryLimitError",
    "MemoryWarning",
    "MissingExtraError",
    "ModelError",
    "ModelMetadata",
    "OpenVINO",
    "OutputError",
    "Photograph",
    "Picture",
    "ProviderError",
    "ProviderWarning",
    "Result",
    "Segmenter",
    "Session",
    "Size",
    "SizeError",
    "SizeWarning",
    "Style",
    "Subject",
    "TensorRT",
    "compose",
    "estimate_foreground",
    "find_subject",
    "read_image",
    "write_image",
]
