"""Names that checkpoints, repositories and exports have by agreement, each written once."""

import re
from collections.abc import Iterable
from urllib.parse import unquote

WEIGHTS_FILE = "model.safetensors"
"""The file that a checkpoint's directory holds, as on the hub."""
PREPROCESSOR_FILE = "preprocessor_config.json"
"""The file beside a model or a checkpoint that states its size and normalization, as on the hub."""
CHECKPOINT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
"""`OWNER/NAME`, as the hub names its repositories."""
METADATA_PREFIX = "birefnet."
"""What the keys of this project's metadata in an `.onnx` begin with."""
_WEIGHTS = (
    re.escape(WEIGHTS_FILE),
    r".+\.safetensors\.index\.json",
    r".+\.safetensors",
    r"pytorch_model\.bin",
    r"pytorch_model\.bin\.index\.json",
    r".+\.(pth|pt|ckpt)",
)
"""Files of weights in a repository or directory; earlier patterns win."""


def choose_weights(names: Iterable[str]) -> list[str]:
    """The file of weights among others; several where it can't be told which one is meant."""
    every = list(names)
    for pattern in _WEIGHTS:
        if fitting := [name for name in every if re.fullmatch(pattern, name)]:
            return fitting
    return []


def stays_inside(name: object) -> bool:
    """Whether a name read from a file is a path that does not lead out of the folder it is for.

    Backslashes, colons and control characters are taken for an attempt: no repository has them.
    """
    return (
        isinstance(name, str)
        and re.fullmatch(r"[^\\:\x00-\x1f\x7f]+", name) is not None
        and not any(part in ("", ".", "..") for part in name.split("/"))
    )


def file_name(path: str) -> str:
    """A name for the file at the end of a URL's path that any file system takes."""
    name = unquote(path).rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.()+ -]|^\.+", "_", name)[-100:] or "file"
