"""Image in, alpha out."""

from typing import TYPE_CHECKING

from birefnet_models.lazy import lazily

if TYPE_CHECKING:
    from birefnet_models.errors import BirefnetError

    from .cutout.background import Background, Blur, Color, ImageBackground
    from .cutout.canvas import Canvas
    from .cutout.clean import Clean
    from .cutout.compose import Result, Style, compose
    from .cutout.foreground import estimate_foreground
    from .cutout.layout import Layout, Length
    from .cutout.second_look import Prediction
    from .cutout.subject import Subject, find_subject
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
    from .model.forms import Prepared
    from .model.input_size import Size
    from .model.metadata import ModelMetadata
    from .model.signature import Session
    from .segmenter import Segmenter
    from .session.memory_limit import Memory
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
        "birefnet_models.errors": "BirefnetError",
        ".cutout.background": "Background Blur Color ImageBackground",
        ".cutout.canvas": "Canvas",
        ".cutout.clean": "Clean",
        ".cutout.compose": "Result Style compose",
        ".cutout.foreground": "estimate_foreground",
        ".cutout.layout": "Layout Length",
        ".cutout.second_look": "Prediction",
        ".cutout.subject": "Subject find_subject",
        ".errors": (
            "ImageError MemoryLimitError MemoryWarning MissingExtraError ModelError "
            "OutputError ProviderError ProviderWarning SizeError SizeWarning"
        ),
        ".images.picture": "Picture",
        ".images.read": "read_image",
        ".images.write": "Encoding write_image",
        ".model.forms": "Prepared",
        ".model.input_size": "Size",
        ".model.metadata": "ModelMetadata",
        ".model.signature": "Session",
        ".segmenter": "Segmenter",
        ".session.memory_limit": "Memory",
        ".session.providers": "Cpu Cuda Named OpenVINO TensorRT",
    },
)
