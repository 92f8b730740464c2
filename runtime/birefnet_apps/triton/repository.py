"""A model repository on disk: each model's folder appears whole or not at all."""

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

from birefnet_models.atomic_write import temporary_folder
from birefnet_models.cache import END_TO_END, end_to_end_file
from birefnet_models.names import METADATA_PREFIX
from birefnet_models.onnx_file import OnnxFile, read_onnx
from birefnet_runtime.errors import OutputError
from birefnet_runtime.model.locate import check_files

from .config import MARK, Serving, config_text

CONFIG = "config.pbtxt"
PIXELS = "-pixels"
"""Behind the name of the model that takes pixels."""


def write_repository(
    file: Path, repository: Path, serving: Serving, name: str | None = None
) -> list[Path]:
    """Write the folder of a model, and of the one from pixels to alpha beside it, if there is one.

    Args:
        file: the `.onnx` file; its weights beside it are copied along.
        repository: made if it does not exist. Folders that were written here before are replaced.
        serving: how it is to be served. TensorRT is for the graph that takes tensors.
        name: of the model; by default the one in its metadata, or its folder's.

    Returns:
        The folders.

    Raises:
        ModelError: a file is damaged, or its graph can't be served.
        OnnxFileError: it can't be read.
        OutputError: a folder of this name is somebody else's, or it can't be written.
    """
    models = _models(read_onnx(file), name)
    folders = [repository / each for each in models]
    for folder in folders:
        _check_ours(folder)
    without = replace(serving, tensorrt=False)  # engines are for the network's own input
    texts = [
        config_text(each, model, without if each.endswith(PIXELS) else serving)
        for each, model in models.items()
    ]
    try:
        repository.mkdir(parents=True, exist_ok=True)
        for folder, text, model in zip(folders, texts, models.values(), strict=True):
            _write(folder, text, model.path)
    except OSError as error:
        raise OutputError(f"{repository}: can't be written: {error.strerror}") from error
    return folders


def _models(model: OnnxFile, name: str | None) -> dict[str, OnnxFile]:
    """The models to be served, by their names."""
    name = name or _name(model)
    if model.path.name.startswith(END_TO_END):
        return {name + PIXELS: model}
    whole = end_to_end_file(model.path)
    return {name: model} | ({name + PIXELS: read_onnx(whole)} if whole.is_file() else {})


def _write(folder: Path, text: str, file: Path) -> None:
    """Write a model's folder beside its place, and then put it there."""
    check_files(file)
    with temporary_folder(folder.parent) as scratch:
        made = scratch / "new"
        (made / "1").mkdir(parents=True)
        (made / CONFIG).write_text(text, encoding="utf-8")
        for each in (file, file.with_name(f"{file.name}_data")):
            if each.is_file():  # the graph names its weights' file, so it keeps that name
                shutil.copyfile(each, made / "1" / each.name)
        if folder.exists():
            os.replace(folder, scratch / "old")
        os.replace(made, folder)


def _check_ours(folder: Path) -> None:
    """Raises `OutputError` where the folder is there and was not written by `birefnet triton`."""
    try:
        if not folder.exists() or (folder / CONFIG).read_text("utf-8").startswith(MARK):
            return
    except (OSError, UnicodeDecodeError):
        pass  # no such file in it, or none of ours
    raise OutputError(
        f"{folder}: is there and was not written by birefnet triton; give another --output or "
        "--name, or remove it"
    )


def _name(model: OnnxFile) -> str:
    """What a model is called: by its metadata, else by the folder it lies in."""
    folder = model.path.absolute().parent
    stated = model.properties.get(f"{METADATA_PREFIX}model")
    name = stated or (folder.parent.name if folder.name == "onnx" else model.path.stem)
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "birefnet"
