"""Checkpoints on disk: read without running their code, checked tensor by tensor."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from birefnet_models.lock import sha256_of
from birefnet_models.names import PREPROCESSOR_FILE
from birefnet_models.text import shortened
from torch import Tensor

from ..errors import ArchitectureError, CheckpointError
from ..network.architecture import Architecture
from ..network.birefnet import BiRefNet
from ..network.swin import relative_position_index
from .fetch import Fetched
from .tensors import dtype_name, read_tensors, unwrap, weights_file

_TRAINING_ONLY = re.compile(
    r"decoder\.(conv_ms_spvn_\d|gdt_convs_pred_\d\.\d)\.(weight|bias)|.+\.num_batches_tracked"
)
_POSITION_INDEX = ".relative_position_index"


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
        file = weights_file(Path(path))
    except OSError as error:
        raise CheckpointError(f"{path}: can't be read: {error.strerror}") from error
    try:
        stored = unwrap(read_tensors(file))
        shapes = {name: tuple(tensor.shape) for name, tensor in stored.items()}
        arch = Architecture.from_shapes(shapes)
        if problems := mismatches(stored, arch):
            lines = "; ".join(f"{what}: {shortened(names)}" for what, names in problems.items())
            raise CheckpointError(f"its tensors are not those of a BiRefNet; {lines}")
        tensors = {name: stored[name] for name in _inference_shapes(arch)}
    except ArchitectureError as error:
        raise ArchitectureError(f"{file}: {error}") from error
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from error
    dtypes = sorted({dtype_name(stored[name]) for name in tensors})
    return Checkpoint(
        path=file,
        sha256=sha256_of(file),
        arch=arch,
        tensors={name: tensor.float() for name, tensor in tensors.items()},
        dtypes=tuple(dtypes),
        trained_size=_trained_size(file.parent / PREPROCESSOR_FILE),
    )


def read_fetched(fetched: Fetched) -> Checkpoint:
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


def mismatches(stored: Mapping[str, Tensor], arch: Architecture) -> dict[str, list[str]]:
    """How a state dict differs from what an architecture needs: kinds of problem, with names.

    Tensors may be on the meta device, without values; stored window orders then go unchecked.
    """
    expected = _inference_shapes(arch)
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
    problems = {
        "missing": sorted(expected.keys() - stored.keys()),
        "left over": left_over,
        "of another shape": misshapen,
        "not floating-point": [
            n for n in expected if n in stored and not stored[n].is_floating_point()
        ],
        "of another window order": _other_window_orders(stored, arch),
    }
    return {what: names for what, names in problems.items() if names}


def _inference_shapes(arch: Architecture) -> dict[str, torch.Size]:
    """Names and shapes of the inference network."""
    with torch.device("meta"):
        return {
            name: tensor.shape
            for name, tensor in BiRefNet(arch).state_dict().items()
            if not name.endswith("num_batches_tracked")
        }


def _other_window_orders(stored: Mapping[str, Tensor], arch: Architecture) -> list[str]:
    """Stored relative position indices that are not Swin's own."""
    index = relative_position_index(arch.window)
    return [
        name
        for name, tensor in stored.items()
        if name.endswith(_POSITION_INDEX)
        and not tensor.is_meta
        and not torch.equal(tensor.long(), index)
    ]


def _trained_size(file: Path) -> tuple[int, int] | None:
    """The size in a hub-style preprocessor file; None without one or without a size in it."""
    try:
        size = json.loads(file.read_text())["size"]
        return int(size["height"]), int(size["width"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
