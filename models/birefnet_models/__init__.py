"""The models that exist, as data; the cache of exports, pins and downloads."""

from typing import TYPE_CHECKING

from . import telemetry as _telemetry  # noqa: F401, acts when imported
from .lazy import lazily

if TYPE_CHECKING:
    from .cache import CachedExport, cache_root, cached_exports
    from .errors import (
        AccessError,
        BirefnetError,
        CacheError,
        FetchError,
        LicenseError,
        OfflineError,
        OnnxFileError,
        PinError,
        UnknownModelError,
    )
    from .zoo import ModelCard, Score, Weights, all_cards, embedded_path, find, search

__all__ = [
    "AccessError",
    "BirefnetError",
    "CacheError",
    "CachedExport",
    "FetchError",
    "LicenseError",
    "ModelCard",
    "OfflineError",
    "OnnxFileError",
    "PinError",
    "Score",
    "UnknownModelError",
    "Weights",
    "all_cards",
    "cache_root",
    "cached_exports",
    "embedded_path",
    "find",
    "search",
]

__getattr__ = lazily(
    __name__,
    {
        ".cache": "CachedExport cache_root cached_exports",
        ".errors": (
            "AccessError BirefnetError CacheError FetchError LicenseError OfflineError "
            "OnnxFileError PinError UnknownModelError"
        ),
        ".zoo": "ModelCard Score Weights all_cards embedded_path find search",
    },
)
