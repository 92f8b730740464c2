"""`birefnet models`."""

import dataclasses
import json

import birefnet_models
import click
from rich.console import Console
from rich.table import Table

from ..sizing import format_size


@click.command(epilog="Example: birefnet models --json")
@click.option("--json", "as_json", is_flag=True, help="Everything known, as a JSON list.")
def models(as_json: bool) -> None:
    """List the models that `--model` knows by name."""
    cards = birefnet_models.all_cards()
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(card) for card in cards], indent=2))
        return
    table = Table("name", "purpose", "backbone", "trained at", "parameters", "licence", box=None)
    for card in cards:
        table.add_row(
            card.name,
            card.purpose,
            card.backbone,
            format_size(card.trained_size),
            f"{card.parameters / 1e6:.1f} M",
            card.licence,
        )
    Console().print(table)
