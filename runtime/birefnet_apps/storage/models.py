"""Models that lie elsewhere, copied into this machine's cache once, whoever asks at the same time.

ROOT/stores/KEY/model.onnx      and what lies beside it: model.onnx_data, SHA256SUMS
ROOT/stores/KEY.lock            held by the one who copies
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from birefnet_models.base.files import cache_root, exclusive, temporary_folder
from birefnet_models.base.hashes import CHECKSUMS
from birefnet_models.pins import DEFAULT_OPTIONS, FetchOptions
from birefnet_runtime.errors import ImageError, ModelError
from birefnet_runtime.model.locate import ModelFile, find_model

from . import RemotePath, file_at, is_url, parse_location


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
    """The model of an identity in the cache, made if it is not there yet.

    Args:
        identity: what differs for every model and version.
        name: of its `.onnx` file.
        fill: puts that and what belongs beside it into an empty folder.

    Raises:
        ModelError: it can't be stored.
        BirefnetError: what `fill` raises.
    """
    folder = cache_root() / "stores" / hashlib.sha256(identity.encode()).hexdigest()[:24]
    file = folder / name
    try:
        if not file.is_file():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with exclusive(folder.with_suffix(".lock")):
                if not file.is_file():
                    _fill(folder, fill)
    except OSError as error:
        raise ModelError(
            f"{name}: can't be stored in {folder.parent}: {error.strerror or error}; "
            "BIREFNET_CACHE names another place"
        ) from error
    return file


def _fill(folder: Path, fill: Callable[[Path], None]) -> None:
    with temporary_folder(folder.parent) as temporary:
        made = temporary / "model"
        made.mkdir()
        fill(made)
        os.replace(made, folder)


def find_any_model(model: str | os.PathLike[str], how: FetchOptions = DEFAULT_OPTIONS) -> ModelFile:
    """Find a model as `find_model` does, and those of object stores, too."""
    if isinstance(model, str) and "://" in model and is_in_a_store(model):
        return ModelFile(fetch_model(model))
    return find_model(model, how)
