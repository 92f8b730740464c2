"""Optional packages: which extra of the distribution brings which, and how it is installed here."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .errors import MissingExtraError

DISTRIBUTION = "birefnet-ort"
EXTRA_OF_MODULE = {
    "fsspec": "remote",
    "jinja2": "bench",
    "matplotlib": "bench",
    "msgspec": "bench",
    "onnx": "export",
    "onnxruntime": "cpu",
    "pillow_heif": "heic",
    "prometheus_client": "serve",
    "psutil": "bench",
    "pyarrow": "ray",
    "py_sod_metrics": "evaluate",
    "pymatting": "matting",
    "python_multipart": "serve",
    "ray": "ray",
    "safetensors": "export",
    "starlette": "serve",
    "threadpoolctl": "export",
    "torch": "pytorch",
    "transformers": "pytorch",
    "uvicorn": "serve",
}
CPU_BUILD_OF_PYTORCH = "--extra-index-url https://download.pytorch.org/whl/cpu"
"""With which pip takes PyTorch's CPU build; PyPI's, on Linux, brings 3 GB of CUDA."""


@contextmanager
def naming_extras() -> Iterator[None]:
    """Inside, a module that is missing and that an extra brings is an error that names the extra.

    Raises:
        MissingExtraError: such a module could not be imported.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = missing_extra(error.name)
        if missing is None:
            raise
        raise missing from error


def missing_extra(module: str | None) -> MissingExtraError | None:
    """The error for a module that could not be imported; None if no extra brings that module."""
    extra = EXTRA_OF_MODULE.get((module or "").partition(".")[0])
    if extra is None:
        return None
    return MissingExtraError(
        f"{module} is not installed; install it with: {install_command(extra)}", name=module
    )


def install_command(extra: str) -> str:
    """The command that installs an extra in this environment.

    It names what the distribution was installed from (PEP 610), since an index may not have it: a
    clone, a wheel, a repository; `birefnet-ort[EXTRA]` where that isn't known or is gone.
    """
    options = f" {CPU_BUILD_OF_PYTORCH}" if extra == "pytorch" else ""
    return f"pip install {_requirement(extra)}{options}"


def _requirement(extra: str) -> str:
    import shlex  # these, and those below, for messages alone
    from urllib.request import url2pathname

    named = f"{DISTRIBUTION}[{extra}]"
    origin = _origin()
    url = str(origin.get("url", ""))
    if commit := origin.get("vcs_info"):
        return shlex.quote(f"{named} @ {commit['vcs']}+{url}@{commit['commit_id']}")
    path = url2pathname(url.removeprefix("file://")) if url.startswith("file://") else ""
    if not os.path.exists(path):
        return shlex.quote(named)
    if "dir_info" not in origin:
        return shlex.quote(f"{named} @ {url}")
    editable = "--editable " if origin["dir_info"].get("editable") else ""
    return f"{editable}{shlex.quote(f'{_from_here(path)}[{extra}]')}"


def _origin() -> dict[str, Any]:
    """What the distribution was installed from, as pip notes it; empty: from an index."""
    import json
    from importlib import metadata

    try:
        text = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
        origin = json.loads(text) if text else {}
    except (metadata.PackageNotFoundError, OSError, ValueError):
        origin = {}
    return origin if isinstance(origin, dict) else {}


def _from_here(folder: str) -> str:
    try:
        return "." if os.path.samefile(folder, os.getcwd()) else folder
    except OSError:  # the current directory was deleted
        return folder
