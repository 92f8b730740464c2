"""Image in, alpha out."""

from typing import TYPE_CHECKING

from birefnet_models.base.lazy import lazily

if TYPE_CHECKING:
    from birefnet_models.base.errors import (
        AccessError,
        BirefnetError,
        CacheError,
        FetchError,
        LicenseError,
        MissingExtraError,
        OfflineError,
        OnlyCheckpointError,
        OnnxFileError,
        PinError,
        UnknownModelError,
    )
    from birefnet_models.base.version import __version__

    from .cutout.background import Background, Blur, Color, ImageBackground
    from .cutout.compose import Result, Style, compose
    from .cutout.foreground import estimate_foreground
    from .cutout.layout import Canvas, Layout, Length
    from .cutout.mask import Clean, Subject, find_subject
    from .cutout.refine import Prediction
    from .errors import (
        ImageError,
        Interrupted,
        MemoryLimitError,
        MemoryWarning,
        ModelError,
        OutputError,
        ProviderError,
        ProviderWarning,
        SizeError,
        SizeWarning,
        WrongAnswerError,
    )
    from .images.picture import Picture
    from .images.read import ImageSource, read_image
    from .images.write import Encoding, write_image
    from .model.graph_io import Prepared
    from .model.metadata import ModelMetadata
    from .model.signature import Session
    from .model.size import Size
    from .segmenter import Opening, Segmenter
    from .session.memory import Memory
    from .session.ort_session import SessionInfo
    from .session.providers import Cpu, Cuda, Named, OpenVINO, TensorRT

__all__ = [
    "AccessError",
    "Background",
    "BirefnetError",
    "Blur",
    "CacheError",
    "Canvas",
    "Clean",
    "Color",
    "Cpu",
    "Cuda",
    "Encoding",
    "FetchError",
    "ImageBackground",
    "ImageError",
    "ImageSource",
    "Interrupted",
    "Layout",
    "Length",
    "LicenseError",
    "Memory",
    "MemoryLimitError",
    "MemoryWarning",
    "MissingExtraError",
    "ModelError",
    "ModelMetadata",
    "Named",
    "OfflineError",
    "OnlyCheckpointError",
    "OnnxFileError",
    "OpenVINO",
    "Opening",
    "OutputError",
    "Picture",
    "PinError",
    "Prediction",
    "Prepared",
    "ProviderError",
    "ProviderWarning",
    "Result",
    "Segmenter",
    "Session",
    "SessionInfo",
    "Size",
    "SizeError",
    "SizeWarning",
    "Style",
    "Subject",
    "TensorRT",
    "UnknownModelError",
    "WrongAnswerError",
    "__version__",
    "compose",
    "estimate_foreground",
    "find_subject",
    "read_image",
    "write_image",
]

__getattr__ = lazily(
    __name__,
    {
        "birefnet_models.base.errors": (
            "AccessError BirefnetError CacheError FetchError LicenseError MissingExtraError "
            "OfflineError OnlyCheckpointError OnnxFileError PinError UnknownModelError"
        ),
        "birefnet_models.base.version": "__version__",
        ".cutout.background": "Background Blur Color ImageBackground",
        ".cutout.compose": "Result Style compose",
        ".cutout.foreground": "estimate_foreground",
        ".cutout.layout": "Canvas Layout Length",
        ".cutout.mask": "Clean Subject find_subject",
        ".cutout.refine": "Prediction",
        ".errors": (
            "ImageError Interrupted MemoryLimitError MemoryWarning ModelError OutputError "
            "ProviderError ProviderWarning SizeError SizeWarning WrongAnswerError"
        ),
        ".images.picture": "Picture",
        ".images.read": "ImageSource read_image",
        ".images.write": "Encoding write_image",
        ".model.graph_io": "Prepared",
        ".model.metadata": "ModelMetadata",
        ".model.signature": "Session",
        ".model.size": "Size",
        ".segmenter": "Opening Segmenter",
        ".session.memory": "Memory",
        ".session.ort_session": "SessionInfo",
        ".session.providers": "Cpu Cuda Named OpenVINO TensorRT",
    },
)
