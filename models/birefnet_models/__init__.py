"""What models exist: records as data."""

from .card import ModelCard
from .errors import BirefnetError, UnknownModelError
from .zoo import all_cards, embedded_path, find

__all__ = [
    "BirefnetError",
    "ModelCard",
    "UnknownModelError",
    "all_cards",
    "embedded_path",
    "find",
]
