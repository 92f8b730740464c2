"""Checkpoints on disk: read without running their code, checked tensor by tensor."""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from birefnet_models.lock import sha256_of
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from .birefnet import BiRefNet
from .config import Architecture
from .errors import ArchitectureError, CheckpointError
from .fetch import Fetched
from .swin import relative_position_index

WEIGHTS = "model.safetensors"
"""The file that a checkpoint's directory holds, as on the hub."""

_PREFIXES = ("module.", "_orig_mod.")
_TRAINING_ONLY = re.compile(
    r"decoder\.(conv_ms_spvn_\d|gdt_convs_pred_\d\.\d)\.(weight|bias)|.+\.num_batches_tracked"
)
_POSITION_INDEX = ".relative_position_index"
_LISTED = 20
"""Names that an error lists before it only counts."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors of a BiRefNet, known to fit the architecture that they show."""

    path: Path
    """The file that was read."""
    sha256: str
    """Of that file."""
    arch: Architecture
    tensors: Mapping[str, Tensor]
    """float32, by upstream's names; what serves training alone is left out."""
    dtypes: tuple[str, ...]
    """What the floating-point tensors were stored as, such as `float16`."""
    trained_size: tuple[int, int] | None
    """Height and width from the zoo or a `preprocessor_config.json` beside the file, if known."""
    trained_range: tuple[tuple[int, int], tuple[int, int]] | None = None
    """Smallest and largest size that it was trained at, if it was at several."""
    origin: str | None = None
    """Where it was fetched from: `REPO@COMMIT` or a URL."""
    model: str | None = None
    """The zoo's name for it."""
    licence: str | None = None

    def module(self) -> BiRefNet:
        """The network in evaluation mode, sharing these tensors."""
        with torch.device("meta"):  # no time spent on random weights
            net = BiRefNet(self.arch)
        counters = {
            name: torch.zeros((), dtype=torch.long)
            for name in net.state_dict()
            if name.endswith("num_batches_tracked")
        }
        net.load_state_dict({**self.tensors, **counters}, assign=True)
        return net.eval().requires_grad_(False)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint: a `.safetensors` or `.pth` file, or a directory with `model.safetensors`.

    The format is told by the file's content. Nothing in the file is executed.

    Raises:
        CheckpointError: the file can't be read, is no checkpoint, or its tensors don't fit.
        ArchitectureError: the tensors show a network that is not supported.
    """
    try:
        file = _weights_file(Path(path))
    except OSError as error:
        raise CheckpointError(f"{path}: can't be read: {error.strerror}") from error
    try:
        stored = _unwrap(_read_tensors(file))
        shapes = {name: tuple(tensor.shape) for name, tensor in stored.items()}
        arch = Architecture.from_shapes(shapes)
        tensors = _matched(stored, arch)
    except ArchitectureError as error:
        raise ArchitectureError(f"{file}: {error}") from error
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from error
    dtypes = sorted({_dtype_name(stored[name]) for name in tensors})
    return Checkpoint(
        path=file,
        sha256=sha256_of(file),
        arch=arch,
        tensors={name: tensor.float() for name, tensor in tensors.items()},
        dtypes=tuple(dtypes),
        trained_size=_trained_size(file.parent / "preprocessor_config.json"),
    )


def read_fetched(fetched: Fetched) -> Checkpoint:
    """Read a checkpoint with what the zoo knows about it; errors are those of `read_checkpoint`."""
    checkpoint = replace(read_checkpoint(fetched.path), origin=fetched.origin)
    if (card := fetched.card) is None:
        return checkpoint
    return replace(
        checkpoint,
        model=card.name,
        licence=card.licence,
        trained_size=card.trained_size,
        trained_range=card.trained_range,
    )


def _weights_file(path: Path) -> Path:
    if path.is_dir():
        file = path / WEIGHTS
        if not file.is_file():
            found = ", ".join(sorted(p.name for p in path.iterdir())[:_LISTED]) or "nothing"
            raise CheckpointError(f"{path}: the directory has no {WEIGHTS}; it holds {found}")
        return file
    if not path.exists():
        raise CheckpointError(f"{path}: no such file or directory")
    return path


def _read_tensors(file: Path) -> Any:
    """The mapping that a file holds; what is in it is checked later."""
    try:
        with file.open("rb") as stream:
            head = stream.read(64)
    except OSError as error:
        raise CheckpointError(f"can't be read: {error.strerror}") from error
    if head[8:9] == b"{":
        try:
            return load_file(file)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"is a damaged safetensors file: {error}") from error
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return _read_pickle(file)
    raise CheckpointError(
        f"is neither a safetensors nor a PyTorch checkpoint; it {_described(head)}"
    )


def _read_pickle(file: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # Torch warns of old pickle protocols; what matters is whether tensors come out.
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error)
        if "weights_only" in reason or "Unsupported" in reason:
            found = re.search(r"GLOBAL ([\w.]+)", reason)
            what = f" ({found[1]})" if found else ""
            raise CheckpointError(
                f"wants to run code when loaded{what}, which is refused; "
                "save its state_dict() alone, as safetensors"
            ) from error
        raise CheckpointError(f"is a damaged PyTorch checkpoint: {_line(error)}") from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise CheckpointError(f"is a damaged PyTorch checkpoint: {_line(error)}") from error


def _described(head: bytes) -> str:
    if not head:
        return "is empty"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "is an HTML page, perhaps a failed download"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer; fetch the file itself with `git lfs pull`"
    return f"starts with {head[:8]!r}"


def _unwrap(stored: Any) -> dict[str, Tensor]:
    """A flat mapping of names to tensors, free of wrappers' prefixes."""
    for key in ("state_dict", "model"):
        if isinstance(stored, Mapping) and isinstance(stored.get(key), Mapping):
            stored = stored[key]
    if not isinstance(stored, Mapping):
        raise CheckpointError(f"holds a {type(stored).__name__}, not a mapping of tensors")
    other = [str(name) for name, value in stored.items() if not isinstance(value, Tensor)]
    if other or not stored:
        found = f"entries that are no tensors: {_names(other)}" if other else "no tensors"
        raise CheckpointError(f"is no state dict: it holds {found}")
    tensors: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        bare = str(name)
        while bare.startswith(_PREFIXES):
            bare = bare.partition(".")[2]
        if bare in tensors:
            raise CheckpointError(f"holds {bare} twice, once behind a prefix")
        tensors[bare] = tensor
    return tensors


def _matched(stored: Mapping[str, Tensor], arch: Architecture) -> dict[str, Tensor]:
    """The tensors of inference, after a check that all are there and nothing unknown is."""
    with torch.device("meta"):
        expected = {
            name: tensor.shape
            for name, tensor in BiRefNet(arch).state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
    missing = sorted(expected.keys() - stored.keys())
    left_over = sorted(
        name
        for name in stored.keys() - expected.keys()
        if not (_TRAINING_ONLY.fullmatch(name) or name.endswith(_POSITION_INDEX))
    )
    misshapen = [
        f"{name} {tuple(stored[name].shape)} instead of {tuple(shape)}"
        for name, shape in expected.items()
        if name in stored and stored[name].shape != shape
    ]
    not_floating = [n for n in expected if n in stored and not stored[n].is_floating_point()]
    problems = {
        "missing": missing,
        "left over": left_over,
        "of another shape": misshapen,
        "not floating-point": not_floating,
        "of another window order": _foreign_indices(stored, arch),
    }
    found = [f"{what}: {_names(names)}" for what, names in problems.items() if names]
    if found:
        raise CheckpointError(f"its tensors are not those of a BiRefNet; {'; '.join(found)}")
    return {name: stored[name] for name in expected}


def _foreign_indices(stored: Mapping[str, Tensor], arch: Architecture) -> list[str]:
    """Stored relative position indices that are not Swin's own."""
    index = relative_position_index(arch.window)
    return [
        name
        for name, tensor in stored.items()
        if name.endswith(_POSITION_INDEX) and not torch.equal(tensor.long(), index)
    ]


def _trained_size(file: Path) -> tuple[int, int] | None:
    """The size in a hub-style preprocessor file; None without one or without a size in it."""
    try:
        size = json.loads(file.read_text())["size"]
        return int(size["height"]), int(size["width"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _names(names: Iterable[str]) -> str:
    """Names as a list, cut where it would fill the screen."""
    listed = list(names)
    more = len(listed) - _LISTED
    return ", ".join(listed[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
