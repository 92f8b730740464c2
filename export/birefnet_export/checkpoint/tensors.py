"""Files of tensors, read without running code from them."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from birefnet_models.names import WEIGHTS_FILE
from birefnet_models.text import first_line, shortened
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ..errors import CheckpointError

_PREFIXES = ("module.", "_orig_mod.")
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def weights_file(path: Path) -> Path:
    """The file of weights that a path means: itself, or the one in a directory.

    Raises:
        CheckpointError: there is none.
        OSError: the directory can't be read.
    """
    if path.is_dir():
        file = path / WEIGHTS_FILE
        if not file.is_file():
            names = shortened(sorted(entry.name for entry in path.iterdir())) or "nothing"
            raise CheckpointError(f"{path}: the directory has no {WEIGHTS_FILE}; it holds {names}")
        return file
    if not path.exists():
        raise CheckpointError(f"{path}: no such file or directory")
    return path


def read_tensors(file: Path, values: bool = True) -> Any:
    """The object that a file holds, a mapping as a rule; `unwrap` checks what is in it.

    Args:
        file: its format is told by its content. Nothing in it is executed.
        values: False leaves them on the disk: the tensors are then on the meta device.

    Raises:
        CheckpointError: the file can't be read, is damaged or none of the formats, or wants to run
            code.
    """
    try:
        with file.open("rb") as stream:
            head = stream.read(64)
    except OSError as error:
        raise CheckpointError(f"can't be read: {error.strerror}") from error
    kind = file_format(head)
    if kind == "safetensors":
        try:
            return load_file(file) if values else _headers(file)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"is a damaged safetensors file: {error}") from error
    if kind == "pytorch":
        return _read_pickle(file, "cpu" if values else "meta")
    raise CheckpointError(
        f"is neither a safetensors nor a PyTorch checkpoint; it {_described(head)}"
    )


def file_format(head: bytes) -> Literal["safetensors", "pytorch"] | None:
    """What the first bytes of a file (9 or more) say that it is."""
    if head[8:9] == b"{":
        return "safetensors"
    return "pytorch" if head.startswith((b"PK\x03\x04", b"\x80")) else None


def _headers(file: Path) -> dict[str, Tensor]:
    tensors = {}
    with safe_open(file, framework="pt") as stored:
        names = stored.keys()
        for name in names:
            part = stored.get_slice(name)
            dtype = _DTYPES.get(part.get_dtype(), torch.float32)
            tensors[name] = torch.empty(part.get_shape(), dtype=dtype, device="meta")
    return tensors


def _read_pickle(file: Path, device: str) -> Any:
    try:
        with warnings.catch_warnings():
            # Torch warns of old pickle protocols; what matters is whether tensors come out.
            warnings.simplefilter("ignore")
            return torch.load(file, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error)
        if "weights_only" in reason or "Unsupported" in reason:
            named = re.search(r"GLOBAL ([\w.]+)", reason)
            what = f" ({named[1]})" if named else ""
            raise CheckpointError(
                f"wants to run code when loaded{what}, which is refused; "
                "save its state_dict() alone, as safetensors"
            ) from error
        raise CheckpointError(f"is a damaged PyTorch checkpoint: {first_line(error)}") from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise CheckpointError(f"is a damaged PyTorch checkpoint: {first_line(error)}") from error


def _described(head: bytes) -> str:
    if not head:
        return "is empty"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "is an HTML page, perhaps a failed download"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer; fetch the file itself with `git lfs pull`"
    return f"starts with {head[:8]!r}"


def unwrap(stored: Any) -> dict[str, Tensor]:
    """The state dict inside a checkpoint: tensors by their names, without wrappers' prefixes.

    Raises:
        CheckpointError: there is none.
    """
    for key in ("state_dict", "model"):
        if isinstance(stored, Mapping) and isinstance(stored.get(key), Mapping):
            stored = stored[key]
    if not isinstance(stored, Mapping):
        raise CheckpointError(f"holds a {type(stored).__name__}, not a mapping of tensors")
    other = [str(name) for name, value in stored.items() if not isinstance(value, Tensor)]
    if other or not stored:
        content = f"entries that are no tensors: {shortened(other)}" if other else "no tensors"
        raise CheckpointError(f"is no state dict: it holds {content}")
    tensors: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        bare = str(name)
        while bare.startswith(_PREFIXES):
            bare = bare.partition(".")[2]
        if bare in tensors:
            raise CheckpointError(f"holds {bare} twice, once behind a prefix")
        tensors[bare] = tensor
    return tensors


def dtype_name(tensor: Tensor) -> str:
    """`float16`, as numpy names it."""
    return str(tensor.dtype).removeprefix("torch.")
