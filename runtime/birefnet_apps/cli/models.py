"""`birefnet models`."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import birefnet_models
import click
from birefnet_models.base.text import aligned, format_bytes, format_size, printable
from birefnet_models.inventory import CachedItem, inventory, remove, total_size
from birefnet_models.pins import LOCK_FILE, FetchOptions
from birefnet_models.zoo import ModelCard, Score, lookup
from birefnet_runtime.model.locate import find_model

from .terminal import fetch_bar, say


@click.command(epilog="Example: birefnet models --purpose matting")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--purpose",
    metavar="WORDS",
    help="Only models for this: matting, portrait, light, high resolution, camouflage, "
    "drawings ...",
)
@click.option("--cached", is_flag=True, help="Only what is in the cache, with size and origin.")
@click.option("--json", "as_json", is_flag=True, help="Everything known, as a JSON list.")
@click.option(
    "--fetch",
    is_flag=True,
    help="Fetch each NAME (OWNER/NAME, or the URL of an .onnx) into the cache, and run nothing.",
)
@click.option("--update", is_flag=True, help="The same again: what NAME stands for now is pinned.")
@click.option("--remove", "removing", is_flag=True, help="Remove each NAME from the cache.")
@click.option(
    "--lock",
    type=click.Path(path_type=Path, dir_okay=False),
    default=LOCK_FILE,
    show_default=True,
    help="Where --fetch and --update pin commits, sizes and hashes.",
)
@click.option("--accept-license", is_flag=True, help="Accept the terms of a model that is fetched.")
def models(
    names: tuple[str, ...],
    purpose: str | None,
    cached: bool,
    as_json: bool,
    fetch: bool,
    update: bool,
    removing: bool,
    lock: Path,
    accept_license: bool,
) -> None:
    """List the models that are known by name and what is in the cache, or show everything about
    some.

    NAME is a short name or a repository of the hub. A model is `here` when `cutout --model NAME`
    finds it: it ships with the package or was exported into the cache. What was fetched ready-made
    is listed below.
    """
    if sum((cached, fetch or update, removing)) > 1:
        raise click.UsageError("--cached lists, --fetch and --update fetch, --remove removes: one")
    if (fetch or update or removing) and not names:
        raise click.UsageError("name what is to be fetched or removed")
    if fetch or update:
        _fetch(names, lock, update, accept_license)
    elif removing:
        _remove(names)
    elif cached:
        _list_cache(names, as_json)
    else:
        _list(names, purpose, as_json)


def _fetch(names: Iterable[str], lock: Path, update: bool, accept_license: bool) -> None:
    with fetch_bar() as progress:
        how = FetchOptions(lock, False, update, accept_license, say, progress)
        for name in names:
            say(f"{name} is in {find_model(name, how).path}")


def _remove(names: Iterable[str]) -> None:
    for name in names:
        removed = remove(name)
        for entry in removed:
            say(f"removed {_label(entry)}")
        say(f"{format_bytes(total_size(removed))} freed")


def _list_cache(names: Sequence[str], as_json: bool) -> None:
    entries = [entry for entry in inventory() if not names or entry.names & set(names)]
    if as_json:
        click.echo(json.dumps([entry.to_dict() for entry in entries], indent=2))
    else:
        click.echo("\n".join(_cache_lines(entries)) if entries else "nothing is in the cache")


def _list(names: Sequence[str], purpose: str | None, as_json: bool) -> None:
    cards: Sequence[ModelCard] = birefnet_models.all_cards()
    entries: list[CachedItem] = [] if as_json or purpose is not None else list(inventory())
    if names:
        entries = [entry for entry in entries if entry.names & set(names)]
        known = {name for entry in entries for name in entry.names}
        cards = [birefnet_models.find(name) for name in names if lookup(name) or name not in known]
    if purpose is not None:
        fitting = birefnet_models.search(purpose)
        cards = [card for card in cards if card in fitting]
    here = {export.name for export in birefnet_models.cached_exports()}
    here |= {card.name for card in cards if card.embedded}
    if as_json:
        records = [dataclasses.asdict(card) | {"here": card.name in here} for card in cards]
        click.echo(json.dumps(records, indent=2))
        return
    if names:
        parts = ["\n".join(_description(card)) for card in cards]
    else:
        parts = ["\n".join(aligned(_rows(cards, here)))] if cards else []
    if entries:
        parts.append("\n".join(_cache_lines(entries)))
    click.echo("\n\n".join(parts) or f"no model is for {purpose!r}")


def _cache_lines(entries: Sequence[CachedItem]) -> Iterator[str]:
    """What is in the cache, as a table."""
    yield f"in the cache, {birefnet_models.cache_root()}: {format_bytes(total_size(entries))}"
    rows = [(e.name, e.variant or e.kind, format_bytes(e.size), e.source) for e in entries]
    shown = [tuple(map(printable, row)) for row in rows]
    yield from aligned([("name", "file or export", "size", "from"), *shown])


def _label(entry: CachedItem) -> str:
    of = " of ".join(filter(None, (entry.variant or entry.kind, entry.source)))
    return f"{entry.name} ({of}), {format_bytes(entry.size)}"


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
