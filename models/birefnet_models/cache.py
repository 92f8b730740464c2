"""Where exported models and downloads are stored on this machine.

    ROOT/models/NAME/PRECISION-LOWERING/    an export directory, as `birefnet export -o` writes it
    ROOT/downloads/                         files of releases

NAME is the zoo's short name, or `OWNER--REPO` for another repository of the hub. Files from the hub
itself lie in huggingface_hub's own cache.
"""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .zoo import lookup

MODEL = Path("onnx", "model.onnx")
"""Path of the graph in an export directory, as on the hub."""
MODEL_OF_PRECISION = {
    "fp32": MODEL,
    "fp16": MODEL.with_name("model_fp16.onnx"),
    "int8": MODEL.with_name("model_quantized.onnx"),
}
"""The hub's names of the same model at other precisions."""
_PREFERRED = ("fp32", "rows", "native", "fp16")
"""Words of the variant that comes first among several exports of one model: exact before small,
and among those the one that `birefnet export` makes by default."""


@dataclass(frozen=True, slots=True)
class CachedExport:
    """A model that was exported into the cache."""

    name: str
    variant: str
    """Precision and lowering, such as `fp32-native`."""
    directory: Path

    @property
    def file(self) -> Path:
        """The `.onnx`, named after the precision."""
        precision = self.variant.partition("-")[0]
        return self.directory / MODEL_OF_PRECISION.get(precision, MODEL)


def cache_root(environment: Mapping[str, str] = os.environ) -> Path:
    """`BIREFNET_CACHE`, or `birefnet` in the operating system's directory for caches."""
    if chosen := environment.get("BIREFNET_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        local = environment.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        return Path(local) / "birefnet" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "birefnet"
    base = Path(environment.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # it then counts for nothing, says the XDG specification
        base = Path.home() / ".cache"
    return base / "birefnet"


def downloads() -> Path:
    """The folder of downloaded release files."""
    return cache_root() / "downloads"


def export_directory(name: str, variant: str) -> Path:
    """Where an export belongs; `name` is a short name or `OWNER/REPO`."""
    return cache_root() / "models" / _folder_name(name) / variant


def _folder_name(name: str) -> str:
    """The folder of a model: the zoo's short name where it has one."""
    card = lookup(name)
    return card.name if card else re.sub(r"[^\w.-]|^\.+", "_", name.replace("/", "--"))


def cached_exports(name: str | None = None) -> tuple[CachedExport, ...]:
    """The whole exports in the cache, of one model or of all; the preferred of a model first."""
    root = cache_root() / "models"
    exports = [
        CachedExport(directory.parent.name, directory.name, directory)
        for directory in root.glob(f"{_folder_name(name) if name else '*'}/*")
    ]
    return tuple(sorted((e for e in exports if e.file.is_file()), key=_order))


def _order(export: CachedExport) -> tuple[object, ...]:
    words = export.variant.split("-")
    return (export.name, *(word not in words for word in _PREFERRED), export.variant)
