"""The provider of `birefnet-ort-kernels`; where it isn't built, these tests are skipped."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="session")
def kernels() -> Any:
    """The wheel's module, its library registered with ONNX Runtime."""
    module = pytest.importorskip(
        "onnxruntime_ep_birefnet", reason="birefnet-ort-kernels isn't installed: make kernels"
    )
    onnxruntime = pytest.importorskip("onnxruntime", minversion="1.24")
    pytest.importorskip("onnx", reason="graphs are made with onnx")
    try:
        path = module.get_library_path()
    except FileNotFoundError:
        pytest.skip("birefnet-ort-kernels isn't built here: make kernels")
    name = module.get_ep_name()
    if not any(device.ep_name == name for device in onnxruntime.get_ep_devices()):
        onnxruntime.register_execution_provider_library(name, path)
    return module


@pytest.fixture
def open_session(kernels) -> Callable[..., Any]:
    """Opens a session on the provider: `open_session(model, int8="1", entries={...})`."""
    import onnxruntime

    def opened(
        model: bytes, entries: dict[str, str] | None = None, threads: int = 2, **options: str
    ) -> Any:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.log_severity_level = 4  # errors are raised; they need not be printed, too
        entries = {"session.record_ep_graph_assignment_info": "1", **(entries or {})}
        for key, value in entries.items():
            settings.add_session_config_entry(key, value)
        name = kernels.get_ep_name()
        devices = [each for each in onnxruntime.get_ep_devices() if each.ep_name == name]
        settings.add_provider_for_devices(devices[:1], options)
        return onnxruntime.InferenceSession(model, settings)

    return opened
