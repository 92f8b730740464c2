"""What this machine has to run on: facts gathered once, for `birefnet doctor`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from birefnet_runtime.machine.limits import (
    affinity_cores,
    cpu_quota,
    memory_limit_bytes,
    usable_cores,
)
from birefnet_runtime.machine.nvml import Driver, read_driver
from birefnet_runtime.machine.processor import Processor, read_processor
from birefnet_runtime.model.ort_versions import DEFORM_CONV, has_deform_conv
from birefnet_runtime.session.providers.availability import is_installed, why_unavailable
from birefnet_runtime.session.providers.names import installed_others
from birefnet_runtime.session.providers.node_placement import NodePlacement
from birefnet_runtime.session.providers.options import RECORDS
from birefnet_runtime.session.providers.ort_build import Build, installed_build
from birefnet_runtime.session.providers.shared_libraries import (
    InstalledVersions,
    RequiredVersions,
    installed_versions,
    libraries_of,
    missing_libraries,
    required_versions,
)

from .opencv import opencv_problem
from .provider_check import check_provider


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
            return "onnxruntime is not installed; install it with: pip install 'birefnet-ort[cpu]'"
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
    names = dict.fromkeys((*RECORDS, *installed_others(), *required))
    states = [examine(name, build, verbose=verbose) for name in names] if build else []
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


def examine(name: str, build: Build, *, verbose: bool = False) -> ProviderState:
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
