"""A model on disk: one file, or a graph with its weights beside it in `model.onnx_data`.

Weights beside the graph are mapped into memory by ONNX Runtime instead of being read and copied.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnx
from birefnet_models.base.files import temporary_folder
from birefnet_models.base.hashes import checksums_of, record_checksums


def data_path(file: Path) -> Path:
    """Where the weights of `file` lie if they are not in it, as on the hub."""
    return file.with_name(file.name + "_data")


def files_of(file: Path) -> list[Path]:
    """A model's files."""
    return [path for path in (file, data_path(file)) if path.exists()]


def save_model(
    model: onnx.ModelProto, properties: Mapping[str, str], file: Path, *, external_data: bool
) -> None:
    """Write the model with these metadata_props; again over itself, too."""
    onnx.helper.set_model_props(model, dict(properties))
    if external_data and not data_path(file).exists():
        onnx.save(
            model,
            file,
            save_as_external_data=True,
            location=data_path(file).name,
            size_threshold=1024,  # bytes; shapes and scalars stay in the graph
        )
    else:
        onnx.save(model, file)


@contextmanager
def replacing_model(file: Path) -> Iterator[Path]:
    """Yield a path of the same name in a folder of its own; what is there moves to `file`.

    If the block raises, `file` and its weights are what they were. Between the moves there is no
    `file` at all, never a graph with another's weights. The folder's record of checksums follows.
    The folder of an export that was killed is removed by the next one.
    """
    with temporary_folder(file.parent) as folder:
        written = folder / file.name
        yield written
        checksums = checksums_of(files_of(written))
        record_checksums(file.parent, {}, forget=(file.name, data_path(file).name))
        if data_path(written).exists() or data_path(file).exists():
            for old in files_of(file):
                old.unlink()
        for new in reversed(files_of(written)):
            os.replace(new, file.with_name(new.name))
        record_checksums(file.parent, checksums)
