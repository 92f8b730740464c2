"""Providers by name: what ONNX Runtime calls each, and which wheel has it."""

from dataclasses import dataclass

from .node_placement import short_name
from .options import RECORDS
from .plugins import execution_provider_of, plugin_names, plugin_of

_SUFFIX = "executionprovider"
_SILENT = frozenset({"azure"})
"""It computes elsewhere, by HTTP, and takes no node of ours: named in no list."""


@dataclass(frozen=True, slots=True)
class Known:
    """A provider that can be asked for by name, whether or not it is here."""

    execution_provider: str
    """ONNX Runtime's name."""
    install: str
    """What brings it, as the end of a sentence."""
    on_cpu: bool = False
    """It computes on the processor, so that nodes left to ONNX Runtime's own kernels cost no
    copy."""


def _instead(wheel: str) -> str:
    return f"replace it: pip uninstall -y onnxruntime && pip install {wheel}"


OTHERS = {
    "coreml": Known("CoreMLExecutionProvider", "on a Mac, `onnxruntime` itself has it"),
    "directml": Known("DmlExecutionProvider", f"on Windows, {_instead('onnxruntime-directml')}"),
    "migraphx": Known(
        "MIGraphXExecutionProvider", f"with ROCm, {_instead('onnxruntime-migraphx')}"
    ),
    "qnn": Known("QNNExecutionProvider", "add it: pip install onnxruntime-qnn"),
    "webgpu": Known("WebGpuExecutionProvider", "add it: pip install onnxruntime-ep-webgpu"),
    "xnnpack": Known(
        "XnnpackExecutionProvider",
        "no wheel has it: build ONNX Runtime with --use_xnnpack",
        on_cpu=True,
    ),
}
"""Wheels and flags as ONNX Runtime's documentation has them."""

EXECUTION_PROVIDER = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
} | {name: known.execution_provider for name, known in OTHERS.items()}


def canonical(text: str) -> str:
    """A provider's name as it is shown: `CoreMLExecutionProvider` and `CoreML` as `coreml`."""
    return short_name(text.strip().lower().removesuffix(_SUFFIX))


def execution_provider(name: str) -> str | None:
    """ONNX Runtime's name of a provider; None if nothing of that name is known or installed.

    Raises:
        ProviderError: a wheel has this name and is damaged.
    """
    if name in EXECUTION_PROVIDER:
        return EXECUTION_PROVIDER[name]
    if listed := next((each for each in _listed() if short_name(each) == name), None):
        return listed
    plugin = plugin_of(name)
    return execution_provider_of(plugin) if plugin else None


def installed_others() -> list[str]:
    """Names of what the installed ONNX Runtime and wheels beside it bring without a record of its
    own, sorted."""
    names = {*map(short_name, _listed()), *plugin_names()}
    return sorted(names - set(RECORDS) - _SILENT)


def choice() -> str:
    """What there is to choose from, for a message: here, and with another ONNX Runtime."""
    here = installed_others()
    elsewhere = [name for name in OTHERS if name not in here]
    parts = [f"auto, {', '.join(RECORDS)}"]
    if here:
        parts.append(f"installed here, too: {', '.join(here)}")
    parts.append(f"with other wheels: {', '.join(elsewhere)}")
    return "; ".join(parts)


def _listed() -> list[str]:
    """What ONNX Runtime lists; nothing where it isn't installed."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return []
    return list(onnxruntime.get_available_providers())
