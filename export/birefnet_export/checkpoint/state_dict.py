"""The state dict of a BiRefNet among what a checkpoint holds: behind wrappers, under prefixes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from birefnet_models.base.text import printable, shortened
from numpy.typing import NDArray

from ..errors import CheckpointError
from .dtypes import Dtype

MOST_NAMES = 100_000
"""Names in one state dict, and objects among which it is looked for; files that hold more were not
made by training."""
_USUAL_KEYS = ("state_dict", "model", "model_state_dict", "net", "network", "params", "module")
"""Keys of the state dict to take where a checkpoint holds several, such as averaged weights."""
_BACKBONE = "bb"
"""The first part of the backbone's names; what stands before it is a wrapper's."""
_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts that wrappers put between those of a name: data parallel, compiled, sharded."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file."""

    dtype: Dtype
    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]
    """Reads its values, anew each time: of this shape, in NumPy's type of this name, or in float32
    where NumPy has none. Raises `CheckpointError` where the file is damaged or was changed."""

    @property
    def size(self) -> int:
        """How many values it has."""
        return prod(self.shape)

    def read_float32(self) -> NDArray[np.float32]:
        """Its values rounded to float32; what is beyond its range becomes infinity."""
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(self.read(), np.float32).reshape(self.shape)


def find_state_dict(content: Any) -> dict[str, StoredTensor]:
    """The tensors of the network in a checkpoint, by their names in BiRefNet.

    Wrappers are looked through at any depth (`{"model": …, "optimizer": …}`), and what stands
    before the backbone's names is taken off all (`model.bb.layers…`); names without it are then
    not the network's. Without a backbone anywhere, the largest mapping of tensors is returned as
    it is.

    Raises:
        CheckpointError: there is none, or there are several and none is the usual one.
    """
    mappings = _mappings_of_tensors(content)
    if networks := [path for path, tensors in mappings.items() if _prefixes(tensors)]:
        tensors = _without_wrappers(mappings[_preferred(networks)])
        if prefix := _preferred(_prefixes(tensors)):
            prefix += "."
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }
    if mappings:
        return max(mappings.values(), key=len)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"holds a {type(content).__name__}, not a mapping of tensors")
    entries = shortened(map(str, content))
    raise CheckpointError(
        "is not a state dict: it holds "
        + (f"entries that are not tensors: {entries}" if entries else "no tensors")
    )


def _mappings_of_tensors(content: Any) -> dict[str, dict[str, StoredTensor]]:
    """All of them in a tree of objects, by the keys on the way (`model.state_dict`)."""
    mappings = {}
    seen: set[int] = set()
    waiting: deque[tuple[str, Any]] = deque([("", content)])
    while waiting and len(seen) < MOST_NAMES:
        path, node = waiting.popleft()
        if id(node) in seen or not isinstance(node, (Mapping, list, tuple)):
            continue
        seen.add(id(node))
        items = list(node.items()) if isinstance(node, Mapping) else list(enumerate(node))
        tensors = {
            key: value
            for key, value in items
            if isinstance(key, str) and isinstance(value, StoredTensor)
        }
        if tensors:
            mappings[path] = tensors
        waiting += [(f"{path}.{key}".strip("."), value) for key, value in items]
    return mappings


def _preferred(paths: Collection[str]) -> str:
    """The path of the network to take: the only one, or one of usual keys alone."""
    if len(paths) == 1:
        return next(iter(paths))
    order = ["", *_USUAL_KEYS]
    if usual := [path for path in paths if set(path.split(".")) <= set(order)]:
        return min(usual, key=lambda path: order.index(path.rpartition(".")[2]))
    raise CheckpointError(
        f"holds several networks, under {shortened(paths)}; save the state dict of one alone"
    )


def _without_wrappers(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    bare: dict[str, StoredTensor] = {}
    for name, tensor in tensors.items():
        inner = ".".join(part for part in name.split(".") if part not in _WRAPPERS)
        if inner in bare:
            raise CheckpointError(f"holds {printable(inner)} twice, once behind a prefix")
        bare[inner] = tensor
    return bare


def _prefixes(names: Collection[str]) -> list[str]:
    """What stands before the backbone's part in any of the names; empty without a backbone."""
    parts = (name.split(".") for name in names)
    return list({".".join(p[: p.index(_BACKBONE)]): None for p in parts if _BACKBONE in p})
