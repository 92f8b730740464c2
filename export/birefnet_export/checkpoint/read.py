"""Checkpoints on disk: read without running their code, checked tensor by tensor."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeGuard

import numpy as np
from birefnet_models.base.hashes import sha256_of
from birefnet_models.base.names import PREPROCESSOR_FILE
from birefnet_models.base.text import first_line, shortened
from numpy.typing import NDArray

from ..errors import ArchitectureError, CheckpointError
from ..network.architecture import Architecture
from ..network.backbone.swin_v1 import SwinV1, relative_position_index
from ..network.birefnet import BiRefNet
from .fetch import LocalCheckpoint
from .state_dict import StoredTensor
from .tensors import checkpoint_files, read_state_dict, weights_file

_TRAINING_ONLY = re.compile(
    r"decoder\.(conv_ms_spvn_\d|gdt_convs_pred_\d\.\d)\.(weight|bias)|.+\.num_batches_tracked"
)
_MOST_JSON_BYTES = 1 << 20
_LARGEST_SIDE = 1 << 16
"""Of an image that anything is trained at."""
_POSITION_INDEX = ".relative_position_index"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors of a BiRefNet, known to fit the architecture that they show."""

    path: Path
    """The file that was read."""
    sha256: str
    """Of that file."""
    arch: Architecture
    tensors: Mapping[str, StoredTensor]
    """By upstream's names, their values on disk; what serves training alone is left out."""
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
    license: str | None = None

    def with_multi_scale(self, stated: str | None) -> Checkpoint:
        """Return the checkpoint with `multi_scale` as it is stated, where tensors can't tell.

        Raises:
            ArchitectureError: as `Architecture.with_multi_scale`.
        """
        try:
            return replace(self, arch=self.arch.with_multi_scale(stated))
        except ArchitectureError as error:
            raise ArchitectureError(f"{self.path}: {error}") from error

    def read(self, name: str) -> NDArray[np.float32]:
        """Read the values of a tensor.

        Raises:
            CheckpointError: the file was changed or removed since it was checked.
        """
        try:
            return self.tensors[name].read_float32()
        except CheckpointError as error:
            raise CheckpointError(f"{self.path}: {error}") from error

    def network(self) -> BiRefNet:
        """The layers of the network, whose values are read when they are asked for."""
        return BiRefNet(self.arch).bind(self.read)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint: a `.safetensors` or `.pth` file, an index of shards, or a directory.

    The format is told by the file's content. Nothing in the file is executed. Checkpoints of a
    training run are read too: wrappers, prefixes of names and whatever else they hold are left out.
    Every value is looked at once, one tensor after the other; none is kept in memory.

    Raises:
        CheckpointError: the file can't be read, is not a checkpoint, or its tensors don't fit.
        ArchitectureError: the tensors show a network that is not supported.
    """
    file = weights_file(Path(path))
    try:
        stored = read_state_dict(file)
        arch = architecture_of(stored)
        if problems := mismatches(stored, arch):
            lines = "; ".join(f"{what}: {shortened(names)}" for what, names in problems.items())
            raise CheckpointError(f"its tensors are not those of a BiRefNet; {lines}")
        tensors = {name: stored[name] for name in BiRefNet(arch).shapes()}
        broken = [name for name, tensor in tensors.items() if not _is_finite(tensor)]
    except ArchitectureError as error:
        raise ArchitectureError(f"{file}: {error}") from error
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from error
    if broken:
        raise CheckpointError(f"{file}: holds NaN or infinity in {shortened(broken)}")
    dtypes = sorted({tensor.dtype.name for tensor in tensors.values()})
    return Checkpoint(
        path=file,
        sha256=sha256_of(*checkpoint_files(file)),
        arch=arch,
        tensors=tensors,
        dtypes=tuple(dtypes),
        trained_size=stated_size(file.parent / PREPROCESSOR_FILE),
    )


def read_fetched(fetched: LocalCheckpoint) -> Checkpoint:
    """Read a checkpoint with what the zoo knows about it; errors are those of `read_checkpoint`."""
    checkpoint = replace(read_checkpoint(fetched.path), origin=fetched.origin)
    if (card := fetched.card) is None:
        return checkpoint
    return replace(
        checkpoint,
        model=card.name,
        license=card.license,
        trained_size=card.trained_size,
        trained_range=card.trained_range,
    )


def _is_finite(tensor: StoredTensor) -> bool:
    return bool(np.isfinite(tensor.read_float32()).all())


def architecture_of(stored: Mapping[str, StoredTensor]) -> Architecture:
    """The architecture that the names and shapes of a state dict show.

    Raises:
        ArchitectureError: it shows none that is supported; the message says what it shows.
    """
    if not any(name.startswith("bb.") for name in stored):
        raise ArchitectureError(
            "it has no backbone, and so is not a BiRefNet: of its tensors' names none starts with "
            f"'bb.'; they are {shortened(stored, 5)}"
        )
    return Architecture.from_shapes({name: t.shape for name, t in stored.items()})


def mismatches(stored: Mapping[str, StoredTensor], arch: Architecture) -> dict[str, list[str]]:
    """How a state dict differs from what an architecture needs: kinds of problem, with names.

    Raises:
        CheckpointError: a stored window order can't be read.
    """
    expected = BiRefNet(arch).shapes()
    left_over = sorted(
        name
        for name in stored.keys() - expected.keys()
        if not (_TRAINING_ONLY.fullmatch(name) or name.endswith(_POSITION_INDEX))
    )
    misshapen = [
        f"{name} {stored[name].shape} instead of {shape}"
        for name, shape in expected.items()
        if name in stored and stored[name].shape != shape
    ]
    problems = {
        "missing": sorted(expected.keys() - stored.keys()),
        "left over": left_over,
        "of another shape": misshapen,
        "not floating-point": [
            n for n in expected if n in stored and not stored[n].dtype.is_floating
        ],
        "of another window order": _other_window_orders(stored, arch),
    }
    return {what: names for what, names in problems.items() if names}


def _other_window_orders(stored: Mapping[str, StoredTensor], arch: Architecture) -> list[str]:
    """Stored relative position indices that are not Swin's own."""
    if not isinstance(arch.backbone, SwinV1):
        return []
    index = relative_position_index(arch.backbone.window)
    return [
        name
        for name, tensor in stored.items()
        if name.endswith(_POSITION_INDEX) and not np.array_equal(tensor.read(), index)
    ]


def stated_size(file: Path) -> tuple[int, int] | None:
    """Height and width in a hub-style preprocessor file; None without one or without them in it.

    Raises:
        CheckpointError: the file can't be read, or its size is none of an image.
    """
    try:
        with file.open("rb") as stream:
            config = json.loads(stream.read(_MOST_JSON_BYTES))
        size = config.get("size")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{file}: is not a JSON object: {first_line(error)}") from error
    if isinstance(size, dict):
        height, width = size.get("height"), size.get("width")
    else:
        height = width = size
    if height is None and width is None:  # or {"shortest_edge": …}
        return None
    if not (_is_side(height) and _is_side(width)):
        raise CheckpointError(
            f"{file}: states the size {json.dumps(size)[:80]}, which no image has; correct it or "
            "delete the file"
        )
    return height, width


def _is_side(number: object) -> TypeGuard[int]:
    return type(number) is int and 0 < number <= _LARGEST_SIDE  # True is no side
