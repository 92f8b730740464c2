"""`birefnet models`."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence

import birefnet_models
import click
from birefnet_models.card import ModelCard, Score
from birefnet_models.text import format_size

from ..units import aligned


@click.command(epilog="Example: birefnet models --purpose matting")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--purpose",
    metavar="WORDS",
    help="Only models for this: matting, portrait, light, high resolution, camouflage ...",
)
@click.option("--json", "as_json", is_flag=True, help="Everything known, as a JSON list.")
def models(names: tuple[str, ...], purpose: str | None, as_json: bool) -> None:
    """List the models that are known by name, or show everything about some.

    NAME is a short name or a repository of the hub. A model is `here` when `cutout --model NAME`
    finds it: it ships with the package or was exported into the cache.
    """
    cards: Sequence[ModelCard] = birefnet_models.all_cards()
    if names:
        cards = [birefnet_models.find(name) for name in names]
    if purpose is not None:
        fitting = birefnet_models.search(purpose)
        cards = [card for card in cards if card in fitting]
    here = {export.name for export in birefnet_models.cached_exports()}
    here |= {card.name for card in cards if card.embedded}
    if as_json:
        records = [dataclasses.asdict(card) | {"here": card.name in here} for card in cards]
        click.echo(json.dumps(records, indent=2))
    elif names:
        click.echo("\n\n".join("\n".join(_description(card)) for card in cards))
    elif cards:
        click.echo("\n".join(aligned(_rows(cards, here))))
    else:
        click.echo(f"no model is for {purpose!r}")


def _rows(cards: Iterable[ModelCard], here: set[str]) -> Iterator[tuple[str, ...]]:
    yield "name", "purpose", "trained at", "backbone", "parameters", "time", "license", ""
    for card in cards:
        mark = "here" if card.name in here else "gated" if card.gated else ""
        yield (
            *(card.name, card.purpose, trained_at(card), card.backbone),
            *(millions(card.parameters), card.time, card.license, mark),
        )


def _description(card: ModelCard) -> Iterator[str]:
    """Everything known about a model, and what is not."""
    exports = birefnet_models.cached_exports(card.name)
    here = "in this package" if card.embedded else ", ".join(e.variant for e in exports)
    yield f"{card.name}: {card.id}"
    for label, text in (
        ("purpose", card.purpose),
        ("license", f"{card.license}{': ' if card.terms else ''}{card.terms}"),
        ("gated", "yes: the hub asks for a login and a request" if card.gated else ""),
        ("backbone", f"{card.backbone}, {millions(card.parameters)} parameters"),
        ("trained at", trained_at(card)),
        ("expect", f"{card.time} and {card.memory} an image in fp32 on two CPU cores"),
        ("source", card.source),
        ("release", card.release_file or ("" if card.embedded else "file not known")),
        ("scores", "" if card.scores or card.embedded else "none known"),
        *(("score", _score(score)) for score in card.scores),
        *(
            ("weights", f"{w.file} at {w.revision[:8]}: sha256 {w.sha256} ({w.source})")
            for w in card.weights
        ),
        ("notes", card.notes),
        ("here", here or f"not yet: birefnet export {card.name}"),
    ):
        if text:
            yield f"  {label:<11}{text}"


def _score(score: Score) -> str:
    at = f" at {format_size(score.size)}" if score.size else ""
    note = f" ({score.note})" if score.note else ""
    return f"{score.dataset} {score.metric} {score.value:g}{at}, {score.source}{note}"


def trained_at(card: ModelCard) -> str:
    """The size or sizes that a model was trained at."""
    if card.trained_range:
        return " to ".join(format_size(size) for size in card.trained_range)
    return format_size(card.trained_size)


def millions(count: int) -> str:
    """A number of parameters, as it is shown."""
    return f"{count / 1e6:.1f} M"
