"""A model of this machine, brought to those of the cluster that don't have it, once each."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from birefnet_models.checksums import CHECKSUMS, sha256_of
from birefnet_models.zoo import all_cards, embedded_path
from birefnet_runtime.model.locate import find_model

from birefnet_apps.storage.models import is_in_a_store, keep


@dataclass(frozen=True, slots=True)
class Delivery:
    """How an actor comes by its model.

    Attributes:
        model: a name that is known everywhere, a URL, or the path of an `.onnx` file.
        sizes: of the file and of those that belong beside it, in bytes.
        identity: the sha256 of them all; empty where nothing is delivered.
        contents: references of Ray's to their bytes.
    """

    model: str
    sizes: dict[str, int] = field(default_factory=dict)
    identity: str = ""
    contents: dict[str, Any] = field(default_factory=dict)

    def receive(self, get: Callable[[Any], bytes] | None = None) -> str:
        """What to open here: the file where it lies, else a copy in this machine's cache.

        Raises:
            ModelError: the copy can't be stored.
        """
        path = Path(self.model)
        if not self.contents or _has(path.parent, self.sizes):
            return self.model

        def fill(folder: Path) -> None:
            for name, content in self.contents.items():
                (folder / name).write_bytes((get or _get)(content))

        return str(keep(self.identity, path.name, fill))


def deliver(
    model: str | Path, machines: int, put: Callable[[bytes], Any] | None = None
) -> Delivery:
    """Prepare a model's way to the machines of a cluster.

    Args:
        model: as `Segmenter` takes it.
        machines: how many there are; to one alone nothing has to be brought.

    Raises:
        ModelError: there is no such model here.
    """
    if isinstance(model, str) and is_in_a_store(model):
        return Delivery(model)
    path = find_model(model).absolute()
    embedded = {embedded_path(card): card.name for card in all_cards() if card.embedded}
    if path in embedded:
        return Delivery(embedded[path])
    names = [path.name, f"{path.name}_data", CHECKSUMS]
    files = [file for name in names if (file := path.with_name(name)).is_file()]
    sizes = {file.name: file.stat().st_size for file in files}
    if machines < 2:
        return Delivery(str(path), sizes)
    contents = {file.name: (put or _put)(file.read_bytes()) for file in files}
    return Delivery(str(path), sizes, sha256_of(*files), contents)


def _has(folder: Path, sizes: dict[str, int]) -> bool:
    """Whether the files are there: on the same machine, or on a disk that all share."""
    try:
        return all(os.stat(folder / name).st_size == size for name, size in sizes.items())
    except OSError:
        return False


def _put(content: bytes) -> Any:
    import ray

    return ray.put(content)


def _get(reference: Any) -> bytes:
    import ray

    content: bytes = ray.get(reference)
    return content
