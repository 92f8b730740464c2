"""What this machine has to run on: facts gathered once, for `birefnet doctor`."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import Distribution, distributions
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import cv2
import numpy as np
from birefnet_models.base.errors import BirefnetError
from birefnet_models.base.extras import install_command
from birefnet_models.base.text import first_line, joined
from birefnet_runtime.errors import ProviderError
from birefnet_runtime.machine import (
    Driver,
    Processor,
    affinity_cores,
    cpu_quota,
    memory_limit_bytes,
    read_driver,
    read_processor,
    usable_cores,
)
from birefnet_runtime.model.locate import as_model_file
from birefnet_runtime.session.acceptance import NO_NODE_TAKEN, does_nothing
from birefnet_runtime.session.acceptance import examine as ask_session
from birefnet_runtime.session.availability import (
    Build,
    InstalledVersions,
    RequiredVersions,
    installed_build,
    installed_versions,
    is_installed,
    libraries_of,
    missing_libraries,
    owners,
    required_versions,
    why_unavailable,
)
from birefnet_runtime.session.judge import check_machine
from birefnet_runtime.session.open import open_session
from birefnet_runtime.session.ort_errors import DEFORM_CONV, has_deform_conv, onnxruntime_errors
from birefnet_runtime.session.ort_session import NodePlacement
from birefnet_runtime.session.providers import (
    PROVIDER_RECORDS,
    Cpu,
    Named,
    Profile,
    Provider,
    TensorRT,
    installed_others,
)

# Whether another wheel of OpenCV lies over ours.


OURS = "opencv-python-headless"


def opencv_problem(
    installed: Iterable[Distribution] | None = None, module: ModuleType = cv2
) -> str | None:
    """One clause: what is wrong with the installed OpenCV, and what to do; None if nothing is.

    opencv-python, -contrib and -headless all bring a package `cv2`. The one installed last counts,
    and where one of them is removed, its files are missing from the others.
    """
    wheels = owners(distributions() if installed is None else installed, "cv2", ("opencv-",))
    if len(wheels) > 1:
        names = " ".join(wheel.partition(" ")[0] for wheel in wheels)
        return (
            f"{joined(wheels)} are installed over one another; keep one: "
            f"pip uninstall -y {names} && pip install {OURS}"
        )
    if not hasattr(module, "resize"):
        return f"cv2 is empty; repair: pip install --force-reinstall --no-deps {OURS}"
    return None


# Whether a provider truly works: a tiny graph with a deformable convolution is run on it.
#
# ONNX Runtime before 1.25 has no `DeformConv`; there the graph has `GridSample` in its place, as
# files of the lowering `gridsample` have.


GRAPH = Path(__file__).with_name("provider_check.onnx")
GRIDSAMPLE_GRAPH = Path(__file__).with_name("provider_check_gridsample.onnx")
TOLERANCE = 1e-2
"""Of an answer near 12: sums of three products round well below it even in bf16."""


@dataclass(frozen=True, slots=True)
class ProviderCheck:
    """Result of running the graph on a provider."""

    works: bool
    reason: str | None
    """Why it doesn't."""
    placement: NodePlacement | None


def check_provider(name: str, *, verbose: bool = False) -> ProviderCheck:
    """Run the graph on the provider of this name, with default options and nothing cached."""
    graph = GRAPH if has_deform_conv(installed_build().version) else GRIDSAMPLE_GRAPH
    tensor = np.linspace(-1, 3, 192, dtype=np.float32).reshape(1, 3, 8, 8)
    try:
        with TemporaryDirectory() as folder:
            record = _record(name, Path(folder))
            session = open_session(
                graph, providers=record, threads=1, verbose=verbose, accepted=False
            )
            (answer,) = session.run(None, {"input_image": tensor})
    except onnxruntime_errors(BirefnetError, RuntimeError, ValueError) as error:
        reason = first_line(error).removeprefix(f"{name} can't run here: ")
        return ProviderCheck(False, reason, None)
    expected = 2 * tensor.sum(axis=1, keepdims=True)
    difference = float(np.abs(np.asarray(answer) - expected).max())
    if not difference <= TOLERANCE * float(np.abs(expected).max()):
        reason = f"its answer to a known graph is off by {difference:.2g}"
        return ProviderCheck(False, reason, session.info.placement)
    if name not in PROVIDER_RECORDS and does_nothing(session, partial(open_session, graph)):
        return ProviderCheck(False, NO_NODE_TAKEN, session.info.placement)
    return ProviderCheck(True, None, session.info.placement)


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """What a provider answers to a model's known answer."""

    provider: str
    right: bool
    seconds: float
    """That asking took, without opening."""
    detail: str
    """By how much it was off, or what was wrong."""


def check_model(file: str | os.PathLike[str], names: Iterable[str]) -> Iterator[ModelCheck]:
    """Ask each provider for a model's known answer, or compare it with the CPU; nothing is noted,
    and nothing that was noted counts.

    Raises:
        ModelError: the file can't be read.
    """
    model = as_model_file(file)
    for name in names:
        started = time.perf_counter()
        try:
            opened = open_session(model, providers=name, accepted=name == TensorRT.name)
            started = time.perf_counter()
            check_machine()
            alone = partial(open_session, model, accepted=False)
            off = {} if name == TensorRT.name else ask_session(model, opened, alone)
        except ProviderError as error:
            reason = first_line(error).removeprefix(f"{name} can't run here: ")
            yield ModelCheck(name, False, time.perf_counter() - started, reason)
            continue
        found = ", ".join(f"{what} off by {each.largest:.2g}" for what, each in off.items())
        took = time.perf_counter() - started
        yield ModelCheck(name, True, took, found or "nothing to compare it with")


def _record(name: str, folder: Path) -> Provider:
    if name == "tensorrt":
        shape = (1, 8, 8)
        return TensorRT(cache=folder, profile=Profile(smallest=shape, best=shape, largest=shape))
    if name == "cpu":
        return Cpu(kernels="off")
    return PROVIDER_RECORDS[name]() if name in PROVIDER_RECORDS else Named(name)


@dataclass(frozen=True, slots=True)
class ProviderState:
    """How far a provider gets: each step needs the one before."""

    name: str
    installed: bool
    loadable: bool
    verified: bool
    """A graph with a deformable convolution, or with `GridSample` where ONNX Runtime is too old for
    one, ran on it and answered right."""
    missing: tuple[str, ...] = ()
    """Shared libraries that it needs and that can't be loaded."""
    wants: RequiredVersions | None = None
    """The majors that the build was linked with."""
    reason: str | None = None
    placement: NodePlacement | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found on this machine, and the conclusions from it."""

    build: Build | None
    """None: ONNX Runtime is not installed."""
    providers: tuple[ProviderState, ...]
    libraries: InstalledVersions
    """CUDA, cuDNN and TensorRT as found here, of any major."""
    driver: Driver | None
    processor: Processor
    usable_cores: int
    affinity_cores: int
    cpu_quota: float | None
    memory_limit_bytes: int | None
    memory_bytes: int | None
    required: tuple[str, ...] = field(default=())
    opencv: str | None = None
    """What is wrong with the installed OpenCV; None if nothing is."""

    @property
    def healthy(self) -> bool:
        """Whether what was required works: by default the CPU."""
        working = {state.name for state in self.providers if state.verified}
        return working.issuperset(self.required or ("cpu",))

    @property
    def advice(self) -> str:
        """One line: what to do, or what to use."""
        if self.build is None:
            return f"onnxruntime is not installed; install it with: {install_command('cpu')}"
        if self.build.conflict:
            return self.build.conflict
        states = {state.name: state for state in self.providers}
        for name in self.required:
            if not states[name].verified:
                return f"{name} doesn't work: {states[name].reason}"
        for state in self.providers:
            if state.installed and not state.verified:
                return f"{state.name} is installed and doesn't work: {state.reason}"
        if self.driver and self.driver.gpus and not states["cuda"].installed:
            return f"there is a GPU ({self.driver.gpus[0].name}); {states['cuda'].reason}"
        if self.opencv:
            return self.opencv
        if not has_deform_conv(self.build.version):
            return (
                f"onnxruntime {self.build.version} has no DeformConv, which {DEFORM_CONV} has: "
                "it runs files of --lowering gridsample only, and not nano; upgrade it if you can"
            )
        best = next((name for name in ("tensorrt", "cuda") if states[name].verified), "cpu")
        return f"all that is installed works; fastest is --provider {best}"


def diagnose(required: Sequence[str] = (), *, verbose: bool = False) -> Diagnosis:
    """Gather the facts of this machine and try each provider that is installed or required."""
    try:
        build = installed_build()
    except ModuleNotFoundError:
        build = None
    names = dict.fromkeys((*PROVIDER_RECORDS, *installed_others(), *required))
    states = [examine_provider(name, build, verbose=verbose) for name in names] if build else []
    return Diagnosis(
        build=build,
        providers=tuple(states),
        libraries=installed_versions(),
        driver=read_driver(),
        processor=read_processor(),
        usable_cores=usable_cores(),
        affinity_cores=affinity_cores(),
        cpu_quota=cpu_quota(),
        memory_limit_bytes=memory_limit_bytes(),
        memory_bytes=_memory_bytes(),
        required=tuple(required),
        opencv=opencv_problem(),
    )


def examine_provider(name: str, build: Build, *, verbose: bool = False) -> ProviderState:
    """Try one provider as far as it goes."""
    installed = is_installed(name, build)
    reason = why_unavailable(name, build)
    libraries = libraries_of(name, build) if installed else ()
    missing = missing_libraries(libraries)
    required = required_versions(build, libraries) if libraries else None
    if not installed or reason:
        return ProviderState(name, installed, False, False, missing, required, reason)
    check = check_provider(name, verbose=verbose)
    return ProviderState(
        name, True, True, check.works, missing, required, check.reason, check.placement
    )


def _memory_bytes(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    try:
        first = meminfo.read_text(encoding="ascii").split("\n", 1)[0]
    except OSError:
        return None
    return int(first.split()[1]) * 1024
