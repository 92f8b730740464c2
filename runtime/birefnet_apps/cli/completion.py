"""`birefnet completion`: what makes a shell complete commands, options and their values."""

from typing import Any

import click
from birefnet_models.zoo import all_cards
from click.shell_completion import CompletionItem, get_completion_class

PROGRAM = "birefnet"
COMPLETION_VARIABLE = "_BIREFNET_COMPLETE"
"""By which the script asks the program, as click names it."""
SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog='Example: eval "$(birefnet completion bash)"  # in ~/.bashrc; zsh alike; for fish '
    "birefnet completion fish > ~/.config/fish/completions/birefnet.fish"
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that makes a SHELL complete this command: bash, zsh or fish.

    It is read when the shell starts, and asks birefnet at each Tab. Names of files are the shell's
    own.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    command: Any = ctx.find_root().command
    click.echo(kind(command, {}, PROGRAM, COMPLETION_VARIABLE).source())


def model_names(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completion of a model: the names of the zoo that begin so, else files."""
    names = [card.name for card in all_cards() if card.name.startswith(incomplete)]
    return list(map(CompletionItem, names)) or [CompletionItem(incomplete, type="file")]
