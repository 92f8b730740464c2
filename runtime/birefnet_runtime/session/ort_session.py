"""From a plan to a session of ONNX Runtime that runs on what the plan says, or an error."""

import ctypes
import os
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from birefnet_models.base.errors import BirefnetError
from birefnet_models.base.text import first_line
from numpy.typing import NDArray

from ..errors import Interrupted, ModelError, ProviderError
from ..model.locate import ModelFile
from ..stderr import Caught, caught_stderr
from .device_buffers import BoundRunner
from .ort_errors import log_reason, onnxruntime_errors, reason_of, why_not_loaded
from .ort_options import SessionPlan, check_options, run_options
from .plugins import is_built_in, plugin_devices, plugin_of
from .providers import (
    EXECUTION_PROVIDER,
    OTHERS,
    Cpu,
    Named,
    OpenVINO,
    Provider,
    TensorRT,
    check_profile,
    short_name,
)

Done = TypeVar("Done")

# Where the nodes of a graph went: which execution provider took which operators.


HEAVY = ("DeformConv", "Conv", "MatMul", "Attention", "GridSample")
"""The operators that take the time: on the CPU under a GPU they cost a copy there and back, too."""


@dataclass(frozen=True, slots=True)
class NodePlacement:
    """Operators by execution provider, in ONNX Runtime's names, as it split the graph."""

    operators: Mapping[str, Mapping[str, int]]

    def nodes(self, execution_provider: str) -> int:
        """How many nodes run there."""
        return sum(self.operators.get(execution_provider, {}).values())

    def heavy_on(self, execution_provider: str) -> dict[str, int]:
        """The compute-heavy operators that run there, with their number."""
        there = self.operators.get(execution_provider, {})
        return {name: there[name] for name in HEAVY if name in there}

    def describe(self) -> str:
        """`cuda 1,480 nodes, cpu 62 nodes (50 Shape, 12 Gather)`: the first three by number."""
        parts = []
        for name, operators in self.operators.items():
            often = ", ".join(f"{n:,} {op}" for op, n in Counter(operators).most_common(3))
            number = self.nodes(name)
            plural = "" if number == 1 else "s"
            parts.append(f"{short_name(name)} {number:,} node{plural} ({often})")
        return ", ".join(parts) or "no nodes"


def read_placement(session: Any) -> NodePlacement | None:
    """Ask a session that was opened with `session.record_ep_graph_assignment_info`.

    None if this ONNX Runtime can't tell.
    """
    ask = getattr(session, "get_provider_graph_assignment_info", None)
    if ask is None:
        return None
    operators: dict[str, Counter[str]] = {}
    for part in ask():
        counted = operators.setdefault(str(part.ep_name), Counter())
        counted.update(str(node.op_type) for node in part.get_nodes())
    return NodePlacement({name: dict(counted) for name, counted in operators.items()})


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What a session runs on, and what could not run."""

    provider: Provider
    """What runs."""
    skipped: tuple[tuple[str, str], ...]
    """What was preferred and could not run: name and reason."""
    placement: NodePlacement | None
    """Where the nodes went; None if this ONNX Runtime can't tell."""
    remarks: tuple[str, ...] = ()
    """What else a user should know, a line each."""

    @property
    def kernels(self) -> bool:
        """Whether nodes run on our own kernels, those of `birefnet-ort-kernels`."""
        return bool(self.placement and self.placement.nodes(EXECUTION_PROVIDER["birefnet"]))

    def describe(self) -> str:
        """`running on cuda: cuda 1,480 nodes (…), cpu 62 nodes (…)`."""
        where = f": {self.placement.describe()}" if self.placement else ""
        return f"running on {self.provider.name}{where}"

    def notes(self) -> list[str]:
        """What a user should know, a line each: a fallback taken, and heavy operators that run
        on the CPU under a GPU."""
        lines = list(self.remarks)
        name = self.provider.name
        if self.skipped:
            reasons = "; ".join(
                f"{other} can't run here: {reason.partition('; ')[0]}"
                for other, reason in self.skipped
            )
            lines.append(f"running on {name}, for {reasons} (birefnet doctor says what to do)")
        copies = name in ("cuda", "tensorrt")  # to the CPU's kernels and back
        if isinstance(self.provider, Named):
            copies = not (name in OTHERS and OTHERS[name].on_cpu)
        if self.placement and copies:
            heavy = self.placement.heavy_on("CPUExecutionProvider")
            if heavy:
                there = ", ".join(f"{number} {operator}" for operator, number in heavy.items())
                lines.append(f"under {name}, the CPU runs {there}: expect it to be slow")
        return lines


class OpenSession:
    """An ONNX Runtime session that runs on the provider it says.

    A process that was forked from the one which opened it has none of its threads; there it is
    opened anew when it first runs. Ctrl-C ends a run on the CPU. Where it runs on something that
    was made of the graph, and that fails to run, it goes over to the graph itself, once.

    Args:
        start: opens ONNX Runtime's session.
        provider: what it runs on.
        plan: the options that it is opened with.
        skipped: what was preferred and could not run: name and reason.
        anew: what `start` opened was made of the graph; opens the graph itself, and has what was
            made discarded once the graph was seen to run where that had failed.

    Raises, when it runs:
        SizeError: TensorRT's engine was built for other shapes.
        Interrupted: it was ended on request.
        ModelError: in a forked process, it can't be opened anew.
        ProviderError: the same, for the provider's sake: CUDA doesn't survive a fork.
    """

    def __init__(
        self,
        start: Callable[[], Any],
        provider: Provider,
        plan: SessionPlan,
        skipped: tuple[tuple[str, str], ...] = (),
        anew: "Anew | None" = None,
    ) -> None:
        self._start = start
        self._anew = anew
        self.plan = plan
        self._opening = threading.RLock()  # an attempt on the graph may fail to run, too
        # DirectML and XNNPACK take one run at a time; of others that are named it isn't known.
        self._turn = threading.Lock() if isinstance(provider, Named) else nullcontext()
        self._was_interrupted = False
        self._running: list[Any] = []
        """RunOptions of the runs that are under way."""
        self._open()
        remarks: tuple[str, ...] = ()
        if isinstance(provider, Named):
            echoed = self._session.get_provider_options()
            remarks = check_options(provider, echoed.get(plan.providers[0][0], {}))
        self.info = SessionInfo(provider, skipped, read_placement(self._session), remarks)

    def _open(self) -> None:
        self._use(self._start())

    def _use(self, session: Any) -> None:
        plan = self.plan
        self._session = session
        self.get_inputs: Callable[[], Sequence[Any]] = session.get_inputs
        self.get_outputs: Callable[[], Sequence[Any]] = session.get_outputs
        self.get_modelmeta: Callable[[], Any] = session.get_modelmeta
        self._bound = None
        if plan.device != "cpu":
            self._bound = BoundRunner(
                self._session,
                plan.device,
                plan.device_id,
                cuda_graph=plan.cuda_graph,
                run_entries=plan.run_entries,
            )
        self._process = os.getpid()
        _opened.add(self)

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, NDArray[Any]]
    ) -> Sequence[Any]:
        if self._process != os.getpid():
            with self._opening:
                if self._process != os.getpid():
                    self._open()
        if isinstance(self.info.provider, TensorRT) and self.info.provider.profile:
            (tensor,) = input_feed.values()
            batch, _, height, width = tensor.shape
            check_profile(self.info.provider.profile, (batch, height, width))
        session = self._session
        if not self._running:
            self._was_interrupted = False
        try:
            return self._run_once(output_names, input_feed)
        except onnxruntime_errors(RuntimeError) as error:
            if self._was_interrupted:
                raise Interrupted from error
            again = partial(self._run_once, output_names, input_feed)
            with self._opening:
                if session is self._session:
                    return self.on_the_graph(again, error)
            return again()  # another thread went over meanwhile

    def on_the_graph(self, attempt: Callable[[], Done], error: Exception) -> Done:
        """Attempt anew what failed with an error, on the graph itself instead of what was made of
        it, which is discarded if that succeeds. If it fails as well, that was not the reason: all
        stays as it was.

        Raises:
            Exception: `error`, where the session runs on the graph or that can't be opened; else
                what the attempt raises.
        """
        with self._opening:
            anew, before = self._anew, self._session
            if anew is None or not anew.is_used():
                raise error
            self._anew = None
            try:
                self._use(anew.open())
            except BirefnetError as failure:
                self._anew = anew
                raise error from failure
            try:
                done = attempt()
            except BaseException:
                self._use(before)
                self._anew = anew
                raise
            anew.discard(f"it failed: {first_line(error)}")
            self._start = anew.open
            return done

    def _run_once(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, NDArray[Any]]
    ) -> Sequence[Any]:
        if self._bound is not None:
            (tensor,) = input_feed.values()
            (name,) = output_names or [self.get_outputs()[0].name]
            return [self._bound.run(tensor, name)]
        options = run_options(self.plan.run_entries)
        self._running.append(options)
        try:
            with self._turn:
                return self._run(output_names, input_feed, options)
        finally:
            self._running.remove(options)

    def _run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, NDArray[Any]],
        options: Any,
    ) -> Sequence[Any]:
        if threading.current_thread() is not threading.main_thread():
            return list(self._session.run(output_names, input_feed, options))
        # Python handles signals on the main thread, and not while that is inside of a run, which
        # may take minutes or, in a hostile graph, not end at all. So it only waits.
        with ThreadPoolExecutor(1, "birefnet-run") as thread:
            try:
                # The future has no name: it would be in a cycle with the error that it raises.
                return list(
                    thread.submit(self._session.run, output_names, input_feed, options).result()
                )
            finally:
                options.terminate = True  # Ctrl-C: the run ends at its next node

    def interrupt(self) -> None:
        """End the runs that are under way in other threads: each fails at its next node."""
        self._was_interrupted = True
        if self._bound is not None:
            self._bound.interrupt()
        for options in list(self._running):
            options.terminate = True


class Anew(Protocol):
    """Something that was made of a graph and is opened in its place."""

    def is_used(self) -> bool:
        """Whether what was opened last is that, and not the graph."""

    def open(self) -> Any:
        """Open the graph itself.

        Raises:
            BirefnetError: it can't be opened.
        """

    def discard(self, why: str) -> None:
        """Remove what was made from its store."""


_opened: weakref.WeakSet[OpenSession] = weakref.WeakSet()


def _keep_sessions_of_the_parent() -> None:
    """In a forked child, never free what the parent opened: it would wait for threads that only
    the parent has, so `close` or the child's end might never return."""
    for opened in list(_opened):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(opened._session))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_sessions_of_the_parent)


def start(model: ModelFile, provider: Provider, plan: SessionPlan, *, verbose: bool) -> Any:
    """Open an `onnxruntime.InferenceSession` that runs on what the plan says.

    Raises:
        ModelError: the file can't be loaded.
        ProviderError: the provider can't be started, lists no device, or ONNX Runtime left it out.
    """
    import onnxruntime

    # The CPU alone has nothing to say, and catching is felt by the whole process.
    shown = provider.name == "cpu" or verbose
    with nullcontext(Caught()) if shown else caught_stderr() as caught:
        options = session_options(plan, verbose)
        chosen = [(name, dict(entries)) for name, entries in plan.providers]
        devices = _plugin_devices(provider, chosen[0][0])
        if devices:
            options.add_provider_for_devices(devices, chosen[0][1])
        try:
            session = onnxruntime.InferenceSession(
                str(model.path),
                sess_options=options,
                # Named here, what was just added would count for nothing.
                providers=None if devices else chosen,
                enable_fallback=0,
            )
        except onnxruntime_errors(RuntimeError, ValueError) as error:
            if reason := why_not_loaded(model, onnxruntime.__version__):
                raise ModelError(f"{model.path}: {reason}") from error
            if provider.name == "cpu" or type(error).__name__ in _ERRORS_OF_FILES:
                message = f"{model.path}: ONNX Runtime can't load it: {first_line(error)}"
                raise ModelError(message) from error
            raise ProviderError(f"ONNX Runtime can't start it: {reason_of(error)}") from error
    started = session.get_providers()
    lost = [name for name, _ in chosen if name not in started]
    if lost:
        raise ProviderError(
            f"ONNX Runtime left out {', '.join(lost)} without an error: "
            + (log_reason(caught.text) or "it doesn't say why (--verbose shows its log)")
        )
    return session


def _plugin_devices(provider: Provider, execution_provider: str) -> list[Any]:
    """The device of a provider that comes as a wheel of its own; none of one that is built in."""
    plugin = None
    if isinstance(provider, OpenVINO | Named):
        plugin = plugin_of(provider.name)
    elif isinstance(provider, Cpu) and provider.kernels == "on":
        plugin = plugin_of("birefnet")
    if plugin is None or is_built_in(execution_provider):
        return []
    kind = provider.device if isinstance(provider, OpenVINO) else None
    return plugin_devices(plugin, execution_provider, kind)


_ERRORS_OF_FILES = {"InvalidProtobuf", "InvalidGraph", "NoSuchFile", "NoModel"}
"""ONNX Runtime's exceptions for a file that fails the same way on every provider."""


def session_options(plan: SessionPlan, verbose: bool) -> Any:
    """The plan as `onnxruntime.SessionOptions`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # What matters comes as an exception, too: so warnings and errors, or nothing.
    options.log_severity_level = 2 if verbose else 4
    for name, value in plan.attributes.items():
        setattr(options, name, value)
    for name, length in plan.dimensions.items():
        options.add_free_dimension_override_by_name(name, length)
    options.execution_order = getattr(onnxruntime.ExecutionOrder, plan.execution_order)
    for key, text in plan.entries.items():
        options.add_session_config_entry(key, text)
    if plan.arena:
        # Sessions that say `session.use_env_allocators` share it; a second time does nothing.
        info = onnxruntime.OrtMemoryInfo(
            "Cpu",
            onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR,
            0,
            onnxruntime.OrtMemType.DEFAULT,
        )
        onnxruntime.create_and_register_allocator(info, onnxruntime.OrtArenaCfg(dict(plan.arena)))
    return options
