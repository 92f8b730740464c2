"""The models that exist, as data; the cache of exports, pins and downloads."""

from typing import TYPE_CHECKING

from .base import telemetry as _telemetry  # noqa: F401, acts when imported
from .base.lazy import lazily

if TYPE_CHECKING:
    from .base.errors import (
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
    from .base.files import cache_root
    from .base.version import __version__
    from .cache import CachedExport, cached_exports
    from .zoo import ModelCard, Score, Weights, all_cards, embedded_path, find, search

__all__ = [
    "AccessError",
    "BirefnetError",
    "CacheError",
    "CachedExport",
    "FetchError",
    "LicenseError",
    "MissingExtraError",
    "ModelCard",
    "OfflineError",
    "OnlyCheckpointError",
    "OnnxFileError",
    "PinError",
    "Score",
    "UnknownModelError",
    "Weights",
    "__version__",
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
        ".cache": "CachedExport cached_exports",
        ".base.files": "cache_root",
        ".base.errors": (
            "AccessError BirefnetError CacheError FetchError LicenseError "
            "MissingExtraError OfflineError OnlyCheckpointError OnnxFileError PinError "
            "UnknownModelError"
        ),
        ".base.version": "__version__",
        ".zoo": "ModelCard Score Weights all_cards embedded_path find search",
    },
)
