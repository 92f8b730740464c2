"""The models that exist, read from `zoo.json`. Adding one is adding data."""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from .card import ModelCard, Score, Weights
from .errors import UnknownModelError

RELEASE = "https://github.com/ZhengPeng7/BiRefNet/releases/download/v1/"
"""Where the files named by `ModelCard.release_file` lie."""


@cache
def all_cards() -> tuple[ModelCard, ...]:
    """Every model of the zoo, in the order of the file."""
    text = resources.files("birefnet_models").joinpath("zoo.json").read_text(encoding="utf-8")
    return tuple(_card(record) for record in json.loads(text))


def lookup(name: str) -> ModelCard | None:
    """The model with this short name or hub repository, in any case; None if there is none."""
    for card in all_cards():
        if name.lower() in (card.name, card.id.lower()):
            return card
    return None


def find(name: str) -> ModelCard:
    """The model with this short name or hub repository, in any case.

    Raises:
        UnknownModelError: no model has it.
    """
    if card := lookup(name):
        return card
    raise UnknownModelError(unknown_model(name))


def unknown_model(name: str) -> str:
    """The message that no model has this name: the nearest one, and all there are."""
    names = [card.name for card in all_cards()]
    near = get_close_matches(name.lower(), names, n=1)
    hint = f"did you mean {near[0]}? there are" if near else "there are"
    return f"no model is named {name!r}; {hint}: {', '.join(names)}"


def search(words: str) -> tuple[ModelCard, ...]:
    """The models whose name, purpose or uses hold every one of these words."""
    return tuple(
        card
        for card in all_cards()
        if all(
            word in " ".join((card.name, card.purpose, *card.uses)).lower()
            for word in words.lower().split()
        )
    )


def embedded_path(card: ModelCard) -> Path:
    """Where the `.onnx` of an embedded model lies in the installed package.

    Raises:
        UnknownModelError: the model is not embedded.
    """
    if card.file is None:
        raise UnknownModelError(f"{card.name} does not ship in this package")
    return Path(str(resources.files("birefnet_models").joinpath(card.file)))


def _card(record: Mapping[str, Any]) -> ModelCard:
    values = {**record, "uses": tuple(record["uses"])}
    values["trained_size"] = _size(record["trained_size"])
    if limits := record.get("trained_range"):
        values["trained_range"] = (_size(limits[0]), _size(limits[1]))
    values["scores"] = tuple(
        Score(**{**score, "size": score["size"] and _size(score["size"])})
        for score in record.get("scores", ())
    )
    values["weights"] = tuple(Weights(**known) for known in record.get("weights", ()))
    return ModelCard(**values)


def _size(sides: list[int]) -> tuple[int, int]:
    height, width = sides
    return height, width
