"""Files of tensors, in one piece or in shards, read without running code from them."""

from __future__ import annotations

import json
import stat
from math import prod
from pathlib import Path
from typing import Any, Literal

from birefnet_models.base.files import head_of, stand_in
from birefnet_models.base.names import WEIGHTS_FILE, choose_weights, stays_inside
from birefnet_models.base.text import first_line, shortened

from ..errors import CheckpointError
from .pytorch_file import read_pytorch
from .safetensors_file import read_safetensors
from .state_dict import StoredTensor, find_state_dict

_MOST_EXPANSION = 4
"""How many times the size of their files all tensors together may take."""
_SMALL = 16 << 20
"""Bytes that they may take in any case."""


def weights_file(path: Path) -> Path:
    """The file of weights that a path means: itself, or the one in a directory.

    In a directory that is `model.safetensors`, an index of shards, a `.safetensors` or `.pth` if it
    is the only one, or `pytorch_model.bin`.

    Raises:
        CheckpointError: there is none, or there are several.
    """
    try:
        if not path.is_dir():
            if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait
                raise CheckpointError(f"{path}: is not a regular file")
            return path
        names = sorted(entry.name for entry in path.iterdir())
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file or directory") from error
    except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL
        raise CheckpointError(f"{path}: can't be read: {first_line(error)}") from error
    fitting = choose_weights(names)
    if not fitting:
        content = shortened(names) or "nothing"
        raise CheckpointError(f"{path}: the directory has no {WEIGHTS_FILE}; it holds {content}")
    if len(fitting) > 1:
        raise CheckpointError(
            f"{path}: holds several files of weights ({shortened(fitting)}); name the one to use"
        )
    return path / fitting[0]


def read_state_dict(file: Path) -> dict[str, StoredTensor]:
    """The tensors of the network in a checkpoint, by their names in BiRefNet; values stay on disk.

    Args:
        file: its format is told by its content. Nothing in it is executed.

    Raises:
        CheckpointError: the file can't be read, is damaged or none of the formats, wants to run
            code, or holds no state dict.
    """
    files = checkpoint_files(file)
    content: Any = {}
    for part in files[1:]:
        content |= _read_shard(part)
    stored = find_state_dict(content if is_index(file) else _read_file(file))
    on_disk = sum(part.stat().st_size for part in files)
    in_memory = sum(
        prod(max(side, 1) for side in tensor.shape) * tensor.dtype.itemsize
        for tensor in stored.values()
    )
    if in_memory > max(_MOST_EXPANSION * on_disk, _SMALL):
        raise CheckpointError(f"has {on_disk} bytes and describes tensors of {in_memory}")
    return stored


def file_format(file: Path) -> Literal["safetensors", "pytorch"]:
    """The format of a file, by its first bytes, or of the shards that it lists, by their name.

    Raises:
        CheckpointError: it can't be read, or is neither.
    """
    if is_index(file):
        return "safetensors" if ".safetensors" in file.name else "pytorch"
    try:
        head = head_of(file)
    except OSError as error:
        raise CheckpointError(f"can't be read: {error.strerror}") from error
    if head[8:9] == b"{":
        return "safetensors"
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return "pytorch"
    raise CheckpointError(
        "is neither a safetensors nor a PyTorch checkpoint; it "
        + (stand_in(head) or f"starts with {head[:8]!r}")
    )


def _read_shard(file: Path) -> dict[str, StoredTensor]:
    try:
        content = _read_file(file)
    except CheckpointError as error:
        raise CheckpointError(f"lists {file.name}, which {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"lists {file.name}, which is not a state dict")
    return content


def _read_file(file: Path) -> Any:
    return read_pytorch(file) if file_format(file) == "pytorch" else read_safetensors(file)


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
        raise CheckpointError(f"{file}: is not an index of shards, or a damaged one") from error
    for name in names:
        if not stays_inside(name) or "/" in name:
            raise CheckpointError(f"{file}: lists {name!r}, which is not a file beside it")
    return [file, *(file.with_name(name) for name in sorted(names))]
