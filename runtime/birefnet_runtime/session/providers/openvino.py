"""OpenVINO, which comes as a wheel beside ONNX Runtime: registered, and found by its devices."""

import threading
from typing import Any

from birefnet_models.text import first_line

from ...errors import ProviderError
from ..ort_errors import onnxruntime_errors
from .options import OpenVINO
from .ort_options import EXECUTION_PROVIDER

MODULE, WHEEL = "onnxruntime_ep_openvino", "onnxruntime-ep-openvino"
NOT_INSTALLED = f"{WHEEL} is not installed; install it with: pip install 'birefnet-ort[openvino]'"

_registering = threading.Lock()


def openvino_devices(provider: OpenVINO) -> list[Any]:
    """Register the wheel's library, once a process, and list its devices of the provider's kind.

    Raises:
        ProviderError: the wheel isn't installed, can't be loaded, or lists no such device.
    """
    import onnxruntime

    name = EXECUTION_PROVIDER["openvino"]
    with _registering:
        if name not in onnxruntime.get_available_providers():
            _register(name)
    kind = getattr(onnxruntime.OrtHardwareDeviceType, provider.device.upper())
    devices = onnxruntime.get_ep_devices()
    fitting = [device for device in devices if (device.ep_name, device.device.type) == (name, kind)]
    if not fitting:
        vendors = sorted({str(device.device.vendor) for device in devices})
        raise ProviderError(
            f"{WHEEL} lists no {provider.device} here: it takes Intel hardware, "
            f"and this is {', '.join(vendors)}"
        )
    return fitting[:1]


def _register(name: str) -> None:
    import onnxruntime

    try:
        import onnxruntime_ep_openvino

        path = str(onnxruntime_ep_openvino.get_library_path())
    except ModuleNotFoundError as error:
        raise ProviderError(NOT_INSTALLED) from error
    except (AttributeError, OSError) as error:
        raise ProviderError(f"{WHEEL} is damaged: {error}") from error
    try:
        onnxruntime.register_execution_provider_library(name, path)
    except onnxruntime_errors() as error:
        raise ProviderError(f"{WHEEL} can't be loaded: {first_line(error)}") from error
