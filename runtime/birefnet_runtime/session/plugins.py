"""Execution providers that come as wheels beside ONNX Runtime: registered, found by their devices.

What such a wheel holds is ONNX Runtime's own guidance: a module, as a rule `onnxruntime_ep_NAME`,
with `get_library_path()` and `get_ep_names()` (its page "Packaging" on plugin EP libraries).
"""

import threading
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distributions, version
from importlib.util import find_spec
from typing import Any

from birefnet_models.base.text import first_line, joined

from ..errors import ProviderError
from .ort_errors import onnxruntime_errors

PLUGIN_PREFIX = "onnxruntime_ep_"


@dataclass(frozen=True, slots=True)
class Plugin:
    """A wheel that brings an execution provider."""

    module: str
    takes: str
    """The hardware, as far as it is known."""
    distribution: str | None = None
    """Its name for pip, where that isn't the module's."""

    @property
    def wheel(self) -> str:
        """Its name for pip."""
        return self.distribution or self.module.replace("_", "-")

    @property
    def version(self) -> str:
        """` NAME VERSION` of the installed wheel; nothing where it isn't known."""
        try:
            return f" {self.wheel} {version(self.wheel)}"
        except PackageNotFoundError:
            return ""


PLUGINS = {
    "birefnet": Plugin("onnxruntime_ep_birefnet", "any processor", "birefnet-ort-kernels"),
    "openvino": Plugin("onnxruntime_ep_openvino", "Intel hardware"),
    "qnn": Plugin("onnxruntime_qnn", "Qualcomm's processors"),
    "webgpu": Plugin("onnxruntime_ep_webgpu", "a GPU with Vulkan, Metal or Direct3D 12"),
}
_KINDS = ("NPU", "GPU", "CPU")
"""Of devices, in ONNX Runtime's words, the most special first."""

_registering = threading.Lock()
_registered: set[str] = set()


def plugin_of(name: str) -> Plugin | None:
    """The installed wheel that brings the provider of this name; None where there is none."""
    plugin = PLUGINS.get(name) or Plugin(f"{PLUGIN_PREFIX}{name}", "hardware of its own")
    installed = plugin.module.isidentifier() and find_spec(plugin.module) is not None
    return plugin if installed else None


def plugin_names() -> list[str]:
    """Names of all providers that installed wheels bring, sorted."""
    wheels = {(wheel.metadata["Name"] or "").lower() for wheel in distributions()}
    modules = {wheel.replace("-", "_").replace(".", "_") for wheel in wheels}
    known = {
        name
        for name, plugin in PLUGINS.items()
        if plugin.module in modules or plugin.distribution in wheels
    }
    found = {
        module.removeprefix(PLUGIN_PREFIX) for module in modules if module.startswith(PLUGIN_PREFIX)
    }
    return sorted(known | {name for name in found if plugin_of(name)})


def execution_provider_of(plugin: Plugin) -> str:
    """ONNX Runtime's name of the provider that a wheel brings.

    Raises:
        ProviderError: the wheel doesn't say.
    """
    try:
        return str(_load(plugin).get_ep_names()[0])
    except (AttributeError, IndexError) as error:
        raise ProviderError(f"{plugin.wheel} doesn't name its provider: {error}") from error


def is_built_in(execution_provider: str) -> bool:
    """Whether ONNX Runtime has it without a wheel that was registered here."""
    import onnxruntime

    listed = execution_provider in onnxruntime.get_available_providers()
    return listed and execution_provider not in _registered


def plugin_devices(plugin: Plugin, execution_provider: str, kind: str | None = None) -> list[Any]:
    """Register the wheel's library, once a process, and choose one of the devices it lists.

    Args:
        plugin: the wheel.
        execution_provider: ONNX Runtime's name of what it brings.
        kind: `cpu`, `gpu` or `npu`; None: an NPU before a GPU before the CPU.

    Raises:
        ProviderError: the library can't be loaded, or lists no such device.
    """
    import onnxruntime

    with _registering:
        if execution_provider not in _registered:
            _register(plugin, execution_provider)
            _registered.add(execution_provider)
    devices = [(device.device.type.name, device) for device in onnxruntime.get_ep_devices()]
    kinds = (kind.upper(),) if kind else _KINDS
    fitting = [
        device
        for wanted in kinds
        for found, device in devices
        if (found, device.ep_name) == (wanted, execution_provider)
    ]
    if not fitting:
        there = sorted({f"{device.device.vendor} {found}" for found, device in devices})
        raise ProviderError(
            f"{plugin.wheel} lists no {kind or 'device'} here: it takes {plugin.takes}, "
            f"and ONNX Runtime sees {joined(there)}"
        )
    return fitting[:1]


def _register(plugin: Plugin, execution_provider: str) -> None:
    import onnxruntime

    try:
        path = str(_load(plugin).get_library_path())
    except (AttributeError, OSError, RuntimeError) as error:
        raise ProviderError(f"{plugin.wheel} is damaged: {first_line(error)}") from error
    try:
        onnxruntime.register_execution_provider_library(execution_provider, path)
    except onnxruntime_errors(AttributeError) as error:
        raise ProviderError(f"{plugin.wheel} can't be loaded: {first_line(error)}") from error


def _load(plugin: Plugin) -> Any:
    module = plugin.module
    try:
        return import_module(module)
    except ImportError as error:
        raise ProviderError(f"{plugin.wheel} is damaged: {first_line(error)}") from error
