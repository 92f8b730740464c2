"""The official path, for comparison only: somebody's Python code from the hub, run on consent.

Everything else in this project reads tensors and nothing but tensors. This file is the exception,
and nothing but `--against transformers:…` of `birefnet verify` and `birefnet bench` comes here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from birefnet_models.base.text import first_line
from torch import Tensor, nn

from ..errors import RemoteCodeError
from .remote_source import consented_source


class RemoteModel(nn.Module):
    """Somebody's network, giving logits as ours does."""

    def __init__(self, network: nn.Module, origin: str) -> None:
        super().__init__()
        self.network = network
        self.origin = origin

    def forward(self, image: Tensor) -> Tensor:
        """Logits (batch, 1, height, width): the last output of the network."""
        output: Any = self.network(image)
        output = getattr(output, "logits", output)
        while isinstance(output, (list, tuple)) and output:
            output = output[-1]
        if not isinstance(output, Tensor):
            raise RemoteCodeError(f"{self.origin}: returns a {type(output).__name__}, no tensor")
        return output


def load_remote(reference: str, consent: bool, say: Callable[[str], None]) -> RemoteModel:
    """Load a repository or a directory through transformers' `AutoModelForImageSegmentation`.

    Args:
        reference: `transformers:REPO@REVISION` or `transformers:DIRECTORY`.
        consent: the code may be run.
        say: called with a line that names the code, before it runs.

    Raises:
        RemoteCodeError: no consent, no revision, or the code failed.
        FetchError: the repository can't be had.
    """
    source = consented_source(reference, consent)
    say(f"running the Python code of {source}: {', '.join(source.code)}")
    from transformers import AutoModelForImageSegmentation

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of somebody's code, about somebody's code
            network = AutoModelForImageSegmentation.from_pretrained(
                source.place,
                revision=source.commit or "main",
                code_revision=source.commit,
                trust_remote_code=True,
            )
    except (OSError, ValueError, ImportError, AttributeError, RuntimeError, TypeError) as error:
        raise RemoteCodeError(f"{source}: can't be loaded: {first_line(error)}") from error
    return RemoteModel(network.eval().requires_grad_(False), str(source))
