"""Image in, alpha out."""

from typing import TYPE_CHECKING

from birefnet_models.base.lazy import lazily

if TYPE_CHECKING:
    from birefnet_models.base.errors import BirefnetError

    from .cutout.background import Background, Blur, Color, ImageBackground
    from .cutout.compose import Result, Style, compose
    from .cutout.foreground import estimate_foreground
    from .cutout.layout import Canvas, Layout, Length
    from .cutout.mask import Clean, Subject, find_subject
    from .cutout.refine import Prediction
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
    from .images.picture import Picture
    from .images.read import read_image
    from .images.write import Encoding, write_image
    from .model.graph_io import Prepared
    from .model.metadata import ModelMetadata
    from .model.signature import Session
    from .model.size import Size
    from .segmenter import Segmenter
    from .session.memory import Memory
    from .session.providers import Cpu, Cuda, Named, OpenVINO, TensorRT

__all__ = [
    "Background",
    "BirefnetError",
    "Blur",
    "Canvas",
    "Clean",
    "Color",
    "Cpu",
    "Cuda",
    "Encoding",
    "ImageBackground",
    "ImageError",
    "Layout",
    "Length",
    "Memory",
    "MemoryLimitError",
    "MemoryWarning",
    "MissingExtraError",
    "ModelError",
    "ModelMetadata",
    "Named",
    "OpenVINO",
    "OutputError",
    "Picture",
    "Prediction",
    "Prepared",
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

__getattr__ = lazily(
    __name__,
    {
        "birefnet_models.base.errors": "BirefnetError",
        ".cutout.background": "Background Blur Color ImageBackground",
        ".cutout.layout": "Canvas Layout Length",
        ".cutout.mask": "Clean Subject find_subject",
        ".cutout.compose": "Result Style compose",
        ".cutout.foreground": "estimate_foreground",
        ".cutout.refine": "Prediction",
        ".errors": (
            "ImageError MemoryLimitError MemoryWarning MissingExtraError ModelError "
            "OutputError ProviderError ProviderWarning SizeError SizeWarning"
        ),
        ".images.picture": "Picture",
        ".images.read": "read_image",
        ".images.write": "Encoding write_image",
        ".model.graph_io": "Prepared",
        ".model.size": "Size",
        ".model.metadata": "ModelMetadata",
        ".model.signature": "Session",
        ".segmenter": "Segmenter",
        ".session.memory": "Memory",
        ".session.providers": "Cpu Cuda Named OpenVINO TensorRT",
    },
)
