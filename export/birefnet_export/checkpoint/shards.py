"""Weights in several files, as the hub's libraries split large ones, with an index that lists them.

model.safetensors.index.json         {"weight_map": {"bb.norm0.bias": "model-00001-of-…"}}
model-00001-of-00002.safetensors
model-00002-of-00002.safetensors
"""

import json
from pathlib import Path

from birefnet_models.base.names import stays_inside

from ..errors import CheckpointError

_SUFFIX = ".index.json"
_MOST_BYTES = 64 << 20
"""Of an index; one of 100,000 tensors has ten."""


def is_index(file: Path) -> bool:
    """Whether a file is an index of shards, by its name."""
    return file.name.endswith(_SUFFIX)


def checkpoint_files(file: Path) -> list[Path]:
    """The files that hold a checkpoint: itself, or an index and its shards in the same folder.

    Raises:
        CheckpointError: an index that can't be read, or lists files elsewhere.
    """
    if not is_index(file):
        return [file]
    try:
        with file.open("rb") as stream:
            names = set(json.loads(stream.read(_MOST_BYTES))["weight_map"].values())
    except OSError as error:
        raise CheckpointError(f"{file}: can't be read: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{file}: is no index of shards, or a damaged one") from error
    for name in names:
        if not stays_inside(name) or "/" in name:
            raise CheckpointError(f"{file}: lists {name!r}, which is no file beside it")
    return [file, *(file.with_name(name) for name in sorted(names))]
