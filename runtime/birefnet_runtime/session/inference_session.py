"""From a plan to ONNX Runtime's session, with its complaints turned into ours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError, ProviderError
from .native_log import caught_stderr
from .ort_errors import first_line, onnxruntime_errors
from .providers.options import OpenVINO, Provider
from .providers.ort_options import SessionPlan
from .providers.plugins import plugin_devices


def start(path: Path, provider: Provider, plan: SessionPlan, *, verbose: bool) -> Any:
    """Open an `onnxruntime.InferenceSession` that runs on what the plan says.

    Raises:
        ModelError: the file can't be loaded.
        ProviderError: the provider can't be started, or ONNX Runtime left it out.
    """
    # The CPU alone has nothing to say, and catching is felt by the whole process.
    with caught_stderr(enabled=provider.name != "cpu" and not verbose) as caught:
        session = _start(path, provider, plan, verbose)
    got = session.get_providers()
    lost = [name for name, _ in plan.providers if name not in got]
    if lost:
        raise ProviderError(
            f"ONNX Runtime left out {', '.join(lost)} without an error: "
            + (log_reason(caught.text) or "it doesn't say why (--verbose shows its log)")
        )
    return session


def _start(path: Path, provider: Provider, plan: SessionPlan, verbose: bool) -> Any:
    import onnxruntime

    options = session_options(plan, verbose)
    chosen: list[tuple[str, dict[str, str]]] | None = [
        (name, dict(its)) for name, its in plan.providers
    ]
    if isinstance(provider, OpenVINO):
        devices = plugin_devices(provider)
        options.add_provider_for_devices(devices, dict(plan.providers[0][1]))
        chosen = None  # else what was just added counts for nothing
    raised: tuple[type[Exception], ...] = (*onnxruntime_errors(), RuntimeError, ValueError)
    try:
        return onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=chosen, enable_fallback=0
        )
    except raised as error:
        if provider.name == "cpu" or not _is_the_providers(error):
            raise ModelError(f"{path}: ONNX Runtime can't load it: {first_line(error)}") from error
        raise ProviderError(f"ONNX Runtime can't start it: {first_line(error)}") from error


def session_options(plan: SessionPlan, verbose: bool) -> Any:
    """The plan as `onnxruntime.SessionOptions`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # What matters comes as an exception, too: so warnings and errors, or nothing.
    options.log_severity_level = 2 if verbose else 4
    for name, value in plan.attributes.items():
        setattr(options, name, value)
    options.execution_order = getattr(onnxruntime.ExecutionOrder, plan.execution_order)
    for key, text in plan.entries.items():
        options.add_session_config_entry(key, text)
    if plan.arena:
        _register_arena(plan.arena)
    return options


def log_reason(text: str) -> str | None:
    """The reason in ONNX Runtime's log: what follows `with error:`, or its last error line."""
    errors = [line for line in text.splitlines() if "[E:onnxruntime" in line]
    if not errors:
        return None
    line = errors[-1].strip("\x1b[m")
    return line.rpartition("with error: ")[2].rpartition("] ")[2].strip()


def _register_arena(settings: Mapping[str, int]) -> None:
    """Sessions that say `session.use_env_allocators` share this one; a second time does nothing."""
    import onnxruntime

    info = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(info, onnxruntime.OrtArenaCfg(dict(settings)))


def run_options(entries: Mapping[str, str]) -> Any:
    if not entries:
        return None
    import onnxruntime

    options = onnxruntime.RunOptions()
    for key, value in entries.items():
        options.add_run_config_entry(key, value)
    return options


def _is_the_providers(error: Exception) -> bool:
    """Whether a provider failed and not the file: a file fails the same way on every provider."""
    kind = type(error).__name__
    return kind not in {"InvalidProtobuf", "InvalidGraph", "NoSuchFile", "NoModel"}
