"""What models exist: records as data."""

from birefnet_models.card import ModelCard
from birefnet_models.errors import BirefnetError, UnknownModelError
from birefnet_models.zoo import all_cards, embedded_path, find

__all__ = [
    "BirefnetError",
    "ModelCard",
    "UnknownModelError",
    "all_cards",
    "embedded_path",
    "find",
]
