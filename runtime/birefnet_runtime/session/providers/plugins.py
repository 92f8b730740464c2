"""Execution providers that come as a library: registered, and found by their devices."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from birefnet_models.errors import first_line

from ...errors import ProviderError
from ..ort_errors import onnxruntime_errors
from .options import OpenVINO
from .ort_options import EXECUTION_PROVIDER

_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Plugin:
    """A wheel that brings a provider's library."""

    module: str
    wheel: str
    extra: str
    library: Callable[[], str]
    """The library's path."""
    takes: str
    """Which hardware it lists devices of."""


def _openvino_library() -> str:
    import onnxruntime_ep_openvino

    return str(onnxruntime_ep_openvino.get_library_path())


PLUGINS = {
    "openvino": Plugin(
        module="onnxruntime_ep_openvino",
        wheel="onnxruntime-ep-openvino",
        extra="openvino",
        library=_openvino_library,
        takes="Intel hardware",
    )
}


def plugin_devices(provider: OpenVINO) -> list[Any]:
    """Register the provider's plugin, once a process, and list its devices of the provider's kind.

    Raises:
        ProviderError: the plugin isn't installed, can't be loaded, or lists no such device.
    """
    plugin = PLUGINS[provider.name]
    execution_provider = EXECUTION_PROVIDER[provider.name]
    import onnxruntime

    with _lock:
        if execution_provider not in onnxruntime.get_available_providers():
            _register(execution_provider, plugin)
    kind = getattr(onnxruntime.OrtHardwareDeviceType, provider.device.upper())
    devices = [
        device
        for device in onnxruntime.get_ep_devices()
        if device.ep_name == execution_provider and device.device.type == kind
    ]
    if not devices:
        vendors = sorted({str(device.device.vendor) for device in onnxruntime.get_ep_devices()})
        raise ProviderError(
            f"{plugin.wheel} lists no {provider.device} here: it takes {plugin.takes}, "
            f"and this is {', '.join(vendors)}"
        )
    return devices[:1]


def not_installed(plugin: Plugin) -> str:
    """One clause: what to install."""
    return (
        f"{plugin.wheel} is not installed; "
        f"install it with: pip install 'birefnet-ort[{plugin.extra}]'"
    )


def _register(execution_provider: str, plugin: Plugin) -> None:
    import onnxruntime

    try:
        path = plugin.library()
    except ModuleNotFoundError as error:
        raise ProviderError(not_installed(plugin)) from error
    except (AttributeError, OSError) as error:
        raise ProviderError(f"{plugin.wheel} is damaged: {error}") from error
    try:
        onnxruntime.register_execution_provider_library(execution_provider, path)
    except onnxruntime_errors() as error:
        raise ProviderError(f"{plugin.wheel} can't be loaded: {first_line(error)}") from error
