"""The models that exist, read from `zoo.json`. Adding one is adding data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from .base.errors import UnknownModelError
from .base.text import did_you_mean

RELEASE_URL = "https://github.com/ZhengPeng7/BiRefNet/releases/download/v1/"
"""Where the files named by `ModelCard.release_file` lie."""


@dataclass(frozen=True, slots=True)
class Score:
    """One published figure."""

    dataset: str
    metric: str
    """`S` (S-measure), `wF` (weighted F-measure), `HCE` (human correction efforts), `MAE`."""
    value: float
    size: tuple[int, int] | None
    """Height and width that it was measured at; None where the source does not say."""
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Weights:
    """A file of weights that was seen at the source."""

    file: str
    revision: str
    """The hub's commit."""
    size: int
    """In bytes."""
    sha256: str
    source: str
    """Who says so."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known about one checkpoint. Sizes are (height, width) in pixels.

    None and empty fields say that something is not known or does not exist; nothing is guessed.
    """

    name: str
    """Short name, the one that is typed: `lite`."""
    id: str
    """Repository on the hub (`ZhengPeng7/BiRefNet_lite`); a name of that form for others."""
    purpose: str
    uses: tuple[str, ...]
    """Words that a search finds it by."""
    license: str
    """SPDX identifier where there is one."""
    backbone: str
    """`swin_v1_t` and so on, or `swin` for one that has no name."""
    trained_size: tuple[int, int]
    """Of a checkpoint trained at many sizes: the one that it is run at by default."""
    parameters: int
    """Of the inference network, counted element by element."""
    time: Literal["under a second", "seconds", "tens of seconds", "minutes"]
    """How long one image takes at the trained size, in fp32 on two cores of a server CPU.

    `BiRefNet_lite` and `BiRefNet` at 1024 x 1024 were measured (5 s and 14 s with the first graph
    of this project); the others follow from their pixels and backbone. Orders of magnitude, no
    promise.
    """
    memory: Literal["under 1 GB", "1 to 4 GB", "4 to 8 GB", "over 8 GB"]
    """Most memory that such a run held, likewise (3 GB and 5 GB were measured)."""
    source: str
    """Where the weights come from."""
    trained_range: tuple[tuple[int, int], tuple[int, int]] | None = None
    """Smallest and largest size of a checkpoint trained at many sizes."""
    terms: str = ""
    """What has to be accepted before the download; empty where nothing has."""
    gated: bool = False
    """The hub asks for a login and a request before it hands out the file."""
    ready_made: str | None = None
    """A repository of the hub that holds an `.onnx` of it, by others, where one is known."""
    release_file: str | None = None
    """Name of the `.pth` in upstream's GitHub release, where one is known."""
    scores: tuple[Score, ...] = ()
    weights: tuple[Weights, ...] = ()
    """Files known by their hash; never more than hints: the lock file is what binds."""
    file: str | None = None
    """The `.onnx` that ships in this package, relative to the package's folder."""
    sha256: str | None = None
    """Of that file, in hexadecimal."""
    notes: str = ""

    @property
    def embedded(self) -> bool:
        """Whether the model ships in this package."""
        return self.file is not None


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
    hint = did_you_mean(name, names) or ";"
    return f"no model is named {name!r}{hint} there are: {', '.join(names)}"


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
