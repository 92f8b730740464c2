"""The models that exist, read from `zoo.json`. Adding one is adding data."""

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from .card import ModelCard
from .errors import UnknownModelError


@cache
def all_cards() -> tuple[ModelCard, ...]:
    """Every model of the zoo, in the order of the file."""
    text = resources.files("birefnet_models").joinpath("zoo.json").read_text(encoding="utf-8")
    return tuple(_card(record) for record in json.loads(text))


def find(name: str) -> ModelCard:
    """The model with this short name.

    Raises:
        UnknownModelError: no model has it.
    """
    for card in all_cards():
        if card.name == name:
            return card
    known = ", ".join(card.name for card in all_cards())
    raise UnknownModelError(f"no model is named {name!r}; there are: {known}")


def embedded_path(card: ModelCard) -> Path:
    """Where the model's `.onnx` lies in the installed package."""
    return Path(str(resources.files("birefnet_models").joinpath(card.file)))


def _card(record: Mapping[str, Any]) -> ModelCard:
    height, width = record["trained_size"]
    return ModelCard(**{**record, "trained_size": (height, width)})
