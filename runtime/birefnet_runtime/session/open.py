"""ONNX Runtime sessions: opened on what was asked for, and looked at after opening.

ONNX Runtime falls back by itself: where a provider can't start it logs a line, opens the session on
the CPU and lists the provider as available all the same. Here that is an error, unless the caller
named the next one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ProviderError
from ..extras import missing_extra
from ..machine.cores import usable_cores
from ..model.input_size import Size
from ..model.signature import Session
from .inference_session import run_options, start
from .io_binding import BoundRunner
from .providers.availability import is_installed, why_not
from .providers.node_placement import Placement, read_placement
from .providers.options import Cpu, Provider, TensorRT
from .providers.ort_build import Build, installed_build
from .providers.ort_options import SessionPlan, plan_session
from .providers.parse import Providers, is_auto, parse_providers
from .tensorrt.engine import Engine, engine_for, resolve
from .tensorrt.optimization_profile import check_fits


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """How a session came about."""

    provider: Provider
    """What runs."""
    skipped: tuple[tuple[str, str], ...]
    """What was preferred and could not run: name and reason."""
    placement: Placement | None
    """Where the nodes went; None if this ONNX Runtime can't tell."""

    def describe(self) -> str:
        """`running on cuda: cuda 1,480 nodes (…), cpu 62 nodes (…)`."""
        where = f": {self.placement.describe()}" if self.placement else ""
        return f"running on {self.provider.name}{where}"

    def notes(self) -> list[str]:
        """What a user should be told, a line each: a fallback taken, and heavy operators that run
        on the CPU under a GPU."""
        lines = []
        name = self.provider.name
        if self.skipped:
            reasons = "; ".join(
                f"{other} can't run here: {reason.partition('; ')[0]}"
                for other, reason in self.skipped
            )
            lines.append(f"running on {name}, for {reasons} (birefnet doctor says what to do)")
        if self.placement and name in ("cuda", "tensorrt"):
            heavy = self.placement.heavy_on("CPUExecutionProvider")
            if heavy:
                there = ", ".join(f"{number} {operator}" for operator, number in heavy.items())
                lines.append(f"under {name}, the CPU runs {there}: expect it to be slow")
        return lines


class OpenSession:
    """An ONNX Runtime session that runs on the provider it says.

    Raises, when it runs:
        SizeError: TensorRT's engine was built for other shapes.
    """

    def __init__(self, session: Any, info: SessionInfo, plan: SessionPlan) -> None:
        self.info = info
        self._session = session
        self._run_options = run_options(plan.run_entries)
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
        if isinstance(self.info.provider, TensorRT) and self.info.provider.profile:
            (tensor,) = input_feed.values()
            batch, _, height, width = tensor.shape
            check_fits(self.info.provider.profile, (batch, height, width))
        if self._bound is not None:
            (tensor,) = input_feed.values()
            (name,) = output_names or [self.get_outputs()[0].name]
            return [self._bound.run(tensor, name)]
        return list(self._session.run(output_names, input_feed, self._run_options))


def open_session(
    path: Path,
    *,
    providers: Providers = "cpu",
    cpu: Cpu | None = None,
    threads: int | None = None,
    sizes: Sequence[Size] = (),
    batch: int = 1,
    verbose: bool = False,
) -> OpenSession:
    """Open an `.onnx` file.

    Args:
        path: the file.
        providers: what to run on, the preferred first; each later one is a fallback that may be
            taken if the one before can't run. A name, `"cuda,cpu"`, a record, or a sequence.
        cpu: what the CPU's name stands for, instead of its record's defaults.
        threads: for one operator; by default as many as cores may be used.
        sizes: what it will be run at, the most frequent first: TensorRT builds for these.
        batch: the largest that it will be run with, for TensorRT.
        verbose: let ONNX Runtime's own log lines through to stderr.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        ModelError: ONNX Runtime can't load the file.
        ProviderError: nothing of what was asked for can run here; says why and what to install.
        SizeError: the network can't run at one of the sizes.
    """
    try:
        build = installed_build()
    except ModuleNotFoundError as error:
        if missing := missing_extra(error.name):
            raise missing from error
        raise
    how = _How(path, build, threads or usable_cores(), tuple(sizes), batch, verbose)
    skipped: list[tuple[str, str]] = []
    for provider in parse_providers(providers, cpu):
        try:
            if reason := why_not(provider.name, build):
                raise ProviderError(reason)
            return _open(provider, how, tuple(skipped))
        except ProviderError as error:
            if is_auto(providers) and not (build.conflict or is_installed(provider.name, build)):
                continue
            skipped.append((provider.name, str(error)))
    raise ProviderError("; ".join(f"{name} can't run here: {why}" for name, why in skipped))


@dataclass(frozen=True, slots=True)
class _How:
    """All about an opening but the provider."""

    path: Path
    build: Build
    threads: int
    sizes: tuple[Size, ...]
    batch: int
    verbose: bool


def _open(provider: Provider, how: _How, skipped: tuple[tuple[str, str], ...]) -> OpenSession:
    """Open the file on this provider or raise a ProviderError with the reason."""
    plan = plan_session(provider, how.threads)
    if isinstance(provider, TensorRT):
        engine = _engine(provider, how)
        provider = engine.record
        plan = plan_session(
            provider, how.threads, engine=engine.directory, input_name=engine.input_name
        )
    session = start(how.path, provider, plan, verbose=how.verbose)
    return OpenSession(session, SessionInfo(provider, skipped, read_placement(session)), plan)


def _engine(record: TensorRT, how: _How) -> Engine:
    """The engine to run, built if there is none."""

    def open_on(ready: TensorRT, directory: Path, input_name: str) -> Session:
        plan = plan_session(ready, how.threads, engine=directory, input_name=input_name)
        session = start(how.path, ready, plan, verbose=how.verbose)
        return OpenSession(session, SessionInfo(ready, (), None), plan)

    key, input_name = resolve(how.path, record, how.build, how.sizes, how.batch)
    return engine_for(how.path, record, key, input_name, open_on, lambda: _open(Cpu(), how, ()))
