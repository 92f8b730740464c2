"""BiRefNet's deformable convolutions on the CPU: a plugin execution provider of ONNX Runtime.

    import onnxruntime, onnxruntime_ep_birefnet as kernels

    name = kernels.get_ep_name()
    onnxruntime.register_execution_provider_library(name, kernels.get_library_path())
    devices = [d for d in onnxruntime.get_ep_devices() if d.ep_name == name]
    options = onnxruntime.SessionOptions()
    options.add_provider_for_devices(devices[:1], {})
    session = onnxruntime.InferenceSession("model.onnx", options)

It needs ONNX Runtime 1.24 or later, and is itself no Python extension: one wheel fits all Pythons.
"""

import ctypes
from pathlib import Path

__all__ = ["get_ep_name", "get_ep_names", "get_library_path", "paths"]

_FOLDER = Path(__file__).parent
_NAMES = ("libbirefnet_kernels.so", "libbirefnet_kernels.dylib", "birefnet_kernels.dll")


def get_library_path() -> str:
    """The library that ONNX Runtime registers.

    Raises:
        FileNotFoundError: it was not built: this is a checkout, or the wheel is damaged.
    """
    for name in _NAMES:
        if (_FOLDER / name).is_file():
            return str(_FOLDER / name)
    raise FileNotFoundError(f"{_FOLDER} has no library: reinstall birefnet-ort-kernels")


def get_ep_names() -> list[str]:
    """ONNX Runtime's names of the providers in the library."""
    return ["BiRefNetExecutionProvider"]


def get_ep_name() -> str:
    """ONNX Runtime's name of the library's one provider."""
    return get_ep_names()[0]


def paths() -> dict[str, list[str]]:
    """What this processor computes with, the preferred first: `{"fp32": ["avx2"], "int8": []}`.

    With an empty list for fp32 the provider takes no node.

    Raises:
        FileNotFoundError: there is no library.
        OSError: it can't be loaded.
    """
    library = ctypes.CDLL(get_library_path())
    library.birefnet_kernels_paths.restype = ctypes.c_char_p
    text = library.birefnet_kernels_paths().decode()
    kinds = dict(part.split("=") for part in text.split(" "))
    return {kind: names.split(",") if names else [] for kind, names in kinds.items()}
