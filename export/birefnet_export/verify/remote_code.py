"""The official path, for comparison only: somebody's Python code from the hub, run on consent.

Everything else in this package reads tensors and nothing but tensors. This file is the exception,
and nothing but `--against transformers:…` of `birefnet verify` and `birefnet bench` comes here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..checkpoint.source import HubSource, parse_source
from ..errors import ExportError, RemoteCodeError

PREFIX = "transformers:"


class RemoteModel(nn.Module):
    """Somebody's network, giving logits as ours does."""

    def __init__(self, network: nn.Module, origin: str) -> None:
        super().__init__()
        self.network = network
        self.origin = origin

    def forward(self, image: Tensor) -> Tensor:
        """Logits (batch, 1, height, width): the last of what the network answers."""
        answer: Any = self.network(image)
        answer = getattr(answer, "logits", answer)
        while isinstance(answer, (list, tuple)) and answer:
            answer = answer[-1]
        if not isinstance(answer, Tensor):
            raise RemoteCodeError(f"{self.origin}: answers with a {type(answer).__name__}")
        return answer


def load_remote(text: str, consent: bool, say: Callable[[str], None]) -> RemoteModel:
    """Load `REPO@REVISION` or a local directory through `AutoModelForImageSegmentation`.

    Args:
        text: what stands behind `transformers:`.
        consent: the code may be run.
        say: told what is about to run.

    Raises:
        RemoteCodeError: no consent, no revision, or the code failed.
        FetchError: the repository can't be had.
    """
    place, revision, files = _located(text)
    what = f"{place}@{revision}" if revision else place
    if not consent:
        raise RemoteCodeError(
            f"{PREFIX}{text} means to run Python code from {what} on this machine, with all your "
            f"rights ({', '.join(files) or 'no .py file was found'}); read it, and if you trust "
            "it add --trust-remote-code"
        )
    say(f"running the Python code of {what}: {', '.join(files)}")
    from transformers import AutoModelForImageSegmentation

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of somebody's code, about somebody's code
            network = AutoModelForImageSegmentation.from_pretrained(
                place, revision=revision or "main", code_revision=revision, trust_remote_code=True
            )
    except (OSError, ValueError, ImportError, AttributeError, RuntimeError, TypeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise RemoteCodeError(f"{what}: can't be loaded: {reason}") from error
    return RemoteModel(network.eval().requires_grad_(False), what)


def _located(text: str) -> tuple[str, str | None, list[str]]:
    """Directory or repository, commit, and the files of code."""
    path = Path(text)
    if path.is_dir():
        return str(path), None, sorted(file.name for file in path.glob("*.py"))
    source = parse_source(text)
    if not isinstance(source, HubSource):
        raise ExportError(f"{PREFIX}{text}: give a repository of the hub or a directory")
    if "@" not in text:
        raise RemoteCodeError(
            f"{PREFIX}{text}: code that may change without notice is not run; name the revision, "
            f"as {PREFIX}{text}@COMMIT"
        )
    from ..checkpoint.hugging_face import files_at

    commit, files = files_at(source)
    return source.repo, commit, sorted(file for file in files if file.endswith(".py"))
