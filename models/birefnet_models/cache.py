"""Where exported models and downloads are stored on this machine.

    ROOT/models/NAME/PRECISION-LOWERING/    an export directory, as `birefnet export -o` writes it
    ROOT/downloads/                         files of releases

NAME is the zoo's short name, or `OWNER--REPO` for another repository of the hub. Files from the hub
itself lie in huggingface_hub's own cache.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from .base.errors import CacheError
from .base.files import cache_root
from .zoo import lookup

MODEL = Path("onnx", "model.onnx")
"""Path of the graph in an export directory, as on the hub."""
MODEL_OF_PRECISION = {
    "fp32": MODEL,
    "fp16": MODEL.with_name("model_fp16.onnx"),
    "int8": MODEL.with_name("model_quantized.onnx"),
}
"""The hub's names of the same model at other precisions."""
END_TO_END = "model_end_to_end"
"""What the name of a file begins with that takes pixels and gives alpha, whatever its precision."""
_PREFERRED = ("fp32", "rows", "native", "fp16")
"""Words of the variant that comes first among several exports of one model: exact before small,
and among those the one that `birefnet export` makes by default."""
_LONGEST_BYTES = 200
"""Of a folder's name; file systems allow 255."""


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


def end_to_end_file(model: Path) -> Path:
    """The file beside an exported one that takes pixels and gives alpha."""
    return model.with_name(model.name.replace(MODEL.stem, END_TO_END, 1))


def downloads() -> Path:
    """The folder of downloaded release files; errors are those of `cache_root`."""
    return cache_root() / "downloads"


def export_directory(name: str, variant: str) -> Path:
    """Where an export belongs; errors are those of `cache_root`.

    Args:
        name: a short name or `OWNER/REPO`.
        variant: precision and lowering, such as `fp32-native`.
    """
    return cache_root() / "models" / _folder_name(name) / variant


def _folder_name(name: str) -> str:
    """The folder of a model: the zoo's short name where it has one."""
    card = lookup(name)
    folder = card.name if card else re.sub(r"[^\w.-]|^\.+", "_", name.replace("/", "--"))
    return folder.encode("utf-8", "replace")[:_LONGEST_BYTES].decode("utf-8", "ignore")


def cached_exports(name: str | None = None) -> tuple[CachedExport, ...]:
    """The whole exports in the cache, of one model or of all; the preferred of a model first.

    None without a cache, or one that can't be read.
    """
    try:
        root = cache_root() / "models"
        directories = list(root.glob(f"{_folder_name(name) if name else '*'}/*"))
    except (CacheError, OSError):
        return ()
    exports = [CachedExport(path.parent.name, path.name, path) for path in directories]
    return tuple(sorted((e for e in exports if os.path.isfile(e.file)), key=_order))


def _order(export: CachedExport) -> tuple[object, ...]:
    words = export.variant.split("-")
    return (export.name, *(word not in words for word in _PREFERRED), export.variant)
