"""The models that exist, as data; the cache of exports, pins and downloads."""

from . import telemetry as _telemetry  # noqa: F401, acts when imported
from .cache import CachedExport, cache_root, cached_exports
from .card import ModelCard, Score, Weights
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
from .zoo import all_cards, embedded_path, find, search

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
