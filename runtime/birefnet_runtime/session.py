"""ONNX Runtime sessions: opened on what was asked for, and looked at after opening.

ONNX Runtime falls back by itself: where a provider can't start it logs a line, opens the session on
the CPU and lists the provider as available all the same. Here that is an error, unless the caller
named the next one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .binding import BoundRunner
from .cores import usable_cores
from .errors import ModelError, ProviderError
from .extras import missing_extra
from .ort_errors import first_line, onnxruntime_errors
from .providers.availability import is_installed, why_not
from .providers.build import Build, installed_build
from .providers.ort_options import SessionPlan, plan_session
from .providers.placement import Placement, read_placement
from .providers.plugins import plugin_devices
from .providers.records import Cpu, Provider
from .providers.request import Providers, is_auto, parse_providers
from .stderr import caught_stderr


class Session(Protocol):
    """The part of `onnxruntime.InferenceSession` that a Segmenter uses."""

    def get_inputs(self) -> Sequence[Any]: ...
    def get_outputs(self) -> Sequence[Any]: ...
    def get_modelmeta(self) -> Any: ...
    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, NDArray[np.float32]]
    ) -> Sequence[Any]: ...


@dataclass(frozen=True, slots=True)
class Opening:
    """How a session came about."""

    provider: Provider
    """What runs."""
    passed_over: tuple[tuple[str, str], ...]
    """What was preferred and could not run: name and reason."""
    placement: Placement | None
    """Where the nodes went; None if this ONNX Runtime can't tell."""

    def notes(self) -> list[str]:
        """What a user should be told, a line each: a fallback taken, and heavy operators that run
        on the CPU under a GPU."""
        lines = []
        name = self.provider.name
        if self.passed_over:
            reasons = "; ".join(
                f"{other} can't run here: {reason.partition('; ')[0]}"
                for other, reason in self.passed_over
            )
            lines.append(f"running on {name}, for {reasons} (birefnet doctor says what to do)")
        if self.placement and name in ("cuda", "tensorrt"):
            heavy = self.placement.heavy_on("CPUExecutionProvider")
            if heavy:
                there = ", ".join(f"{number} {operator}" for operator, number in heavy.items())
                lines.append(f"under {name}, the CPU runs {there}: expect it to be slow")
        return lines


class OpenSession:
    """An ONNX Runtime session that runs on the provider it says."""

    def __init__(self, session: Any, opening: Opening, plan: SessionPlan) -> None:
        self.opening = opening
        self._session = session
        self._run_options = _run_options(plan.run_entries)
        self._bound = None
        if plan.device != "cpu":
            self._bound = BoundRunner(
                session,
                plan.device,
                plan.device_id,
                cuda_graph=plan.cuda_graph,
                run_entries=plan.run_entries,
            )

    def get_inputs(self) -> Sequence[Any]:
        return list(self._session.get_inputs())

    def get_outputs(self) -> Sequence[Any]:
        return list(self._session.get_outputs())

    def get_modelmeta(self) -> Any:
        return self._session.get_modelmeta()

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, NDArray[np.float32]]
    ) -> Sequence[Any]:
        if self._bound is not None:
            (tensor,) = input_feed.values()
            return [self._bound.run(tensor)]
        return list(self._session.run(output_names, input_feed, self._run_options))


def open_session(
    path: Path,
    *,
    providers: Providers = "cpu",
    cpu: Cpu | None = None,
    threads: int | None = None,
    verbose: bool = False,
) -> OpenSession:
    """Open an `.onnx` file.

    Args:
        path: the file.
        providers: what to run on, the preferred first; each later one is a fallback that may be
            taken if the one before can't run. A name, `"cuda,cpu"`, a record, or a sequence.
        cpu: what the CPU's name stands for, instead of its record's defaults.
        threads: for one operator; by default as many as cores may be used.
        verbose: let ONNX Runtime's own log lines through to stderr.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        ModelError: ONNX Runtime can't load the file.
        ProviderError: nothing of what was asked for can run here; says why and what to install.
    """
    try:
        build = installed_build()
    except ModuleNotFoundError as error:
        if missing := missing_extra(error.name):
            raise missing from error
        raise
    passed_over: list[tuple[str, str]] = []
    for provider in parse_providers(providers, cpu):
        try:
            return _open(path, provider, build, threads or usable_cores(), passed_over, verbose)
        except ProviderError as error:
            if is_auto(providers) and not (build.conflict or is_installed(provider.name, build)):
                continue
            passed_over.append((provider.name, str(error)))
    raise ProviderError("; ".join(f"{name} can't run here: {why}" for name, why in passed_over))


def _open(
    path: Path,
    provider: Provider,
    build: Build,
    threads: int,
    passed_over: Sequence[tuple[str, str]],
    verbose: bool,
) -> OpenSession:
    """Open the file on this provider or raise a ProviderError with the reason."""
    if reason := why_not(provider.name, build):
        raise ProviderError(reason)
    plan = plan_session(provider, threads)
    # The CPU alone has nothing to say; and what others have is caught with the whole process's.
    with caught_stderr(enabled=provider.name != "cpu" and not verbose) as caught:
        session = _start(path, provider, plan, verbose)
    got = session.get_providers()
    lost = [name for name, _ in plan.providers if name not in got]
    if lost:
        raise ProviderError(
            f"ONNX Runtime left out {', '.join(lost)} without an error: "
            + (log_reason(caught.text) or "it doesn't say why (--verbose shows its log)")
        )
    opening = Opening(provider, tuple(passed_over), read_placement(session))
    return OpenSession(session, opening, plan)


def _start(path: Path, provider: Provider, plan: SessionPlan, verbose: bool) -> Any:
    import onnxruntime

    options = session_options(plan, verbose)
    chosen: list[tuple[str, dict[str, str]]] | None = [
        (name, dict(its)) for name, its in plan.providers
    ]
    if plan.plugin:
        devices = plugin_devices(provider)  # type: ignore[arg-type]
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


def _run_options(entries: Mapping[str, str]) -> Any:
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
