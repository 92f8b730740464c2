"""The options of every command that fetches checkpoints."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from birefnet_apps.cli.terminal import fetch_bar
from birefnet_models.pins import LOCK_FILE, FetchOptions

_OPTIONS = (
    click.option(
        "--lock",
        type=click.Path(path_type=Path, dir_okay=False),
        default=LOCK_FILE,
        show_default=True,
        help="Where commits, sizes and hashes are pinned.",
    ),
    click.option(
        "--locked",
        is_flag=True,
        help="Refuse what is not pinned; the lock file stays as it is. For CI.",
    ),
    click.option("--update", is_flag=True, help="Resolve again, and move the pin."),
    click.option(
        "--accept-license", is_flag=True, help="Accept the terms of a model that has some."
    ),
    # The spelling of 0.1.0.
    click.option("--accept-licence", "accept_license_of_old", is_flag=True, hidden=True),
)

multi_scale_option = click.option(
    "--multi-scale",
    type=click.Choice(["none", "add"]),
    help="Setting mul_scl_ipt of a checkpoint whose tensors can't tell it; without, it is refused.",
)


def fetching_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which gets them as one argument, `fetching`."""

    @functools.wraps(command)
    def with_fetching(
        *arguments: Any,
        lock: Path,
        locked: bool,
        update: bool,
        accept_license: bool,
        accept_license_of_old: bool,
        **others: Any,
    ) -> Any:
        with fetch_bar() as progress:
            fetching = FetchOptions(
                lock,
                locked,
                update,
                accept_license or accept_license_of_old,
                say=lambda line: click.echo(f"birefnet: {line}", err=True),
                progress=progress,
                step=progress.step if progress else None,
            )
            return command(*arguments, fetching=fetching, **others)

    decorated: Callable[..., Any] = with_fetching
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
