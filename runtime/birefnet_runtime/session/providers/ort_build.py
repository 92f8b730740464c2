"""Which build of ONNX Runtime is installed, and whether two lie over one another."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

WHEELS = ("onnxruntime", "ort-")
"""What the names of wheels with ONNX Runtime begin with."""


@dataclass(frozen=True, slots=True)
class Build:
    """What can be known of the installed ONNX Runtime without opening a session."""

    version: str
    package: str
    """The wheel whose files lie there last: `onnxruntime`, `onnxruntime-gpu`."""
    cuda: str | None
    """The CUDA version it was built with."""
    providers: tuple[str, ...]
    """ONNX Runtime's names. Listed means compiled in, not that it works."""
    folder: Path
    """Where its native libraries lie."""
    wheels: tuple[str, ...]
    """`NAME VERSION` of every installed wheel that owns those files: more than one is a mistake."""

    @property
    def conflict(self) -> str | None:
        """What is wrong where wheels were installed over one another, and what to do."""
        if len(self.wheels) < 2:
            return None
        names = [wheel.partition(" ")[0] for wheel in self.wheels]
        keep = next((name for name in names if name != "onnxruntime"), names[0])
        return (
            f"{' and '.join(self.wheels)} are installed over one another, and {self.package} won; "
            f"repair: pip uninstall -y {' '.join(names)} && pip install {keep}"
        )


def installed_build() -> Build:
    """Look at the installed ONNX Runtime.

    Raises:
        ModuleNotFoundError: there is none.
    """
    import onnxruntime

    try:
        info: Any = import_module("onnxruntime.capi.build_and_package_info")
    except ModuleNotFoundError:  # wheels for the CPU before 1.21
        info = None
    return Build(
        version=onnxruntime.__version__,
        package=str(getattr(info, "package_name", "onnxruntime")),
        cuda=getattr(info, "cuda_version", None) or None,
        providers=tuple(onnxruntime.get_available_providers()),
        folder=Path(onnxruntime.__file__).parent / "capi",
        wheels=owners(distributions_named(*WHEELS)),
    )


def distributions_named(*prefixes: str) -> Iterator[Distribution]:
    """The installed distributions whose folder is called so, without reading what the others say:
    in a large environment that would take longer than opening a small model."""
    for folder in sys.path:
        with suppress(OSError), os.scandir(folder or ".") as entries:
            for entry in entries:
                name = entry.name.lower().replace("_", "-")
                if name.endswith(".dist-info") and name.startswith(prefixes):
                    yield Distribution.at(entry.path)


def owners(
    installed: Iterable[Distribution],
    package: str = "onnxruntime",
    prefixes: tuple[str, ...] = WHEELS,
) -> tuple[str, ...]:
    """The distributions of such names that brought a package: `NAME VERSION`, sorted."""
    wheels = set()
    for distribution in installed:
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        if not name.startswith(prefixes):
            continue
        face = f"{package}/__init__.py"
        if any(file.as_posix() == face for file in distribution.files or ()):
            wheels.add(f"{name} {distribution.version}")
    return tuple(sorted(wheels))
