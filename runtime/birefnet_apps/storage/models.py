"""Models that lie elsewhere, copied into this machine's cache once, whoever asks at the same time.

Beside `model.onnx` there may be `model.onnx_data` and SHA256SUMS.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from birefnet_models.base.hashes import CHECKSUMS
from birefnet_models.base.store import Store
from birefnet_models.pins import DEFAULT_OPTIONS, FetchOptions
from birefnet_runtime.errors import ImageError, ModelError
from birefnet_runtime.model.locate import ModelFile, find_model

from . import RemotePath, file_at, is_url, parse_location

COPIES = Store("stores")


def is_in_a_store(model: object) -> bool:
    """Whether a model is typed as the URL of an object store; those of http have other ways."""
    if not isinstance(model, str) or not is_url(model):
        return False
    place = parse_location(model)
    return isinstance(place, RemotePath) and place.protocol not in {"http", "https", "hf"}


def fetch_model(url: str) -> Path:
    """The `.onnx` file of an object store, in the cache; asked for again when it was replaced.

    Raises:
        ModelError: it is no `.onnx` file, isn't there or can't be fetched.
        MissingExtraError: the store's driver is not installed.
    """
    from .remote import RemoteFile  # fsspec is met for URLs only

    place = RemotePath(url)
    if place.suffix != ".onnx":
        raise ModelError(f"{place}: in an object store, name the .onnx file itself")
    folder, _, name = url.rpartition("/")

    def fill(into: Path) -> None:
        RemoteFile(place).fetch(into / name)
        for beside in (f"{name}_data", CHECKSUMS):
            if (file := RemoteFile(RemotePath(f"{folder}/{beside}"))).found():
                file.fetch(into / beside)

    try:
        if not file_at(place).found():
            raise ModelError(f"{place}: no such object")
        return keep(f"{url}\n{RemoteFile(place).version()}", name, fill)
    except ImageError as error:
        raise ModelError(str(error)) from error


def keep(identity: str, name: str, fill: Callable[[Path], None]) -> Path:
    """The model of an identity in the cache, made if it is not there yet, or was harmed since.

    Args:
        identity: what differs for every model and version.
        name: of its `.onnx` file.
        fill: puts that and what belongs beside it into an empty folder.

    Raises:
        ModelError: it can't be stored.
        BirefnetError: what `fill` raises.
    """

    def make(folder: Path) -> Mapping[str, Any]:
        fill(folder)
        return {"name": name}

    key = {"identity": identity}
    try:
        return (COPIES.find(key) or COPIES.make(key, make)).folder / name
    except OSError as error:
        raise ModelError(
            f"{name}: can't be stored in {COPIES.root}: {error.strerror or error}; "
            "BIREFNET_CACHE names another place"
        ) from error


def find_any_model(model: str | os.PathLike[str], how: FetchOptions = DEFAULT_OPTIONS) -> ModelFile:
    """Find a model as `find_model` does, and those of object stores, too."""
    if isinstance(model, str) and "://" in model and is_in_a_store(model):
        return ModelFile(fetch_model(model))
    return find_model(model, how)
