"""What this process may use of the machine: processor cores and memory.

In a container the limits of its control groups count, versions 1 and 2. A limit on any group above
holds as well, so the tightest on the way up counts. The groups above are often out of sight there,
and its own is mounted as the root.
Files: the kernel's admin-guide, cgroup-v2.rst, cgroup-v1/memory.rst and scheduler/sched-bwc.rst.
"""

import ctypes
import gc
import math
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

# Memory back to the operating system.

LARGE_BLOCK_BYTES = 4 << 20
"""Smaller than the 16 MB blocks that Pillow keeps pixels in."""
_KEPT_BYTES = 32 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""From glibc's malloc.h."""


def return_freed_blocks() -> None:
    """Have freed memory go back to the operating system by itself from now on: large blocks at
    once, small ones when 32 MB of them are free.

    glibc keeps more: each thread gets a heap of its own, and of each heap up to 64 MB stay; blocks
    of up to 32 MB, as Pillow's, go there, once one of them was freed. After 14 pictures of 49
    megapixels a server held 1 GB that nobody used. Does nothing without glibc, or where the
    environment says something of it (`MALLOC_ARENA_MAX` and its like, `GLIBC_TUNABLES`).
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return  # not glibc
    mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    mallopt(_M_ARENA_MAX, 1)


def release_memory() -> None:
    """Give back what the allocator keeps of freed memory; does nothing where that can't be asked.

    glibc keeps freed blocks for later: without this a closed session's hundreds of megabytes stay
    with the process.
    """
    gc.collect()
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return  # not glibc
    trim(0)


ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def usable_cores(root: Path = ROOT, own: Path = OWN) -> int:
    """Cores by scheduler affinity and by the container's CPU quota, at least one.

    A part of a core counts as one. The arguments are where control groups are found.
    """
    cores = affinity_cores()
    quota = cpu_quota(root, own)
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def affinity_cores() -> int:
    """Cores that the scheduler may put this process on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota(root: Path = ROOT, own: Path = OWN) -> float | None:
    """How many cores' worth of time may be used; None if that is unlimited or not known."""
    limits = [_read(folder / "cpu.max").partition(" ")[::2] for folder in _folders(root, own, "")]
    for folder in _folders(root, own, "cpu"):  # version 1
        limits.append((_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")))
    quotas = []
    for quota, period in limits:  # in microseconds; no number: `max`, -1, or no such file
        if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def memory_limit_bytes(root: Path = ROOT, own: Path = OWN) -> int | None:
    """How much memory may be used before the process is killed; None if there is no limit."""
    files = [folder / "memory.max" for folder in _folders(root, own, "")]
    files += [folder / "memory.limit_in_bytes" for folder in _folders(root, own, "memory")]
    # Version 1 says "unlimited" with the largest number of whole pages.
    limits = [int(text) for text in map(_read, files) if text.isdecimal() and int(text) < 2**62]
    return min(limits, default=None)


def _folders(root: Path, own: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's group and of those above; version 2 if `controller` is ""."""
    mount = root / controller
    if not controller and not (root / "cgroup.controllers").exists():
        # Beside version 1, version 2 has a place of its own.
        mount = root / "unified" if (root / "unified").is_dir() else root
    for line in _read(own).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            group = PurePosixPath(path.lstrip("/"))
            for folder in (group, *group.parents):
                yield mount / folder
            return
    yield mount


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


# How much memory this process holds, and held at its peak.


STATUS = Path("/proc/self/status")


def rss_bytes(status: Path = STATUS) -> int | None:
    """Resident set size now; None where the system doesn't say."""
    return _status_bytes(status, "VmRSS:")


def peak_rss_bytes(status: Path = STATUS) -> int | None:
    """Highest resident set size so far; None where the system doesn't say.

    Linux's `ru_maxrss` starts at the parent's peak when a process is spawned; `VmHWM` doesn't.
    """
    peak = _status_bytes(status, "VmHWM:")
    if peak is not None:
        return peak
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _status_bytes(status: Path, name: str) -> int | None:
    """A figure of Linux's `status` file, in bytes."""
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return None


# What the processor is called and which instructions it has that matrix products profit from.


CPUINFO = Path("/proc/cpuinfo")
_ONE_CORE_BYTES = 8192
_IDENTITY = (
    *("vendor_id", "cpu family", "model", "stepping"),
    *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision"),
)

# Name for people: the kernel's flags of which one is enough (arch/x86/include/asm/cpufeatures.h).
FEATURES = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "VNNI": ("avx512_vnni", "avx_vnni"),
    "BF16": ("avx512_bf16", "bf16"),
    "AMX": ("amx_tile",),
    "NEON": ("asimd",),
    "DotProd": ("asimddp",),
    "I8MM": ("i8mm",),
    "SVE": ("sve",),
}


@dataclass(frozen=True, slots=True)
class Processor:
    """The processor of this machine."""

    model: str
    features: tuple[str, ...]
    """Those of FEATURES that it has."""
    flags: tuple[str, ...] = ()
    """Everything that the kernel lists, in order of the alphabet."""
    identity: str = ""
    """What else tells it from others of its name: maker, family, model, stepping."""

    @property
    def key(self) -> str:
        """All of this, for what holds on such a processor alone."""
        return f"{self.model}, {self.identity}, {' '.join(self.flags)}"


def read_processor(cpuinfo: Path = CPUINFO) -> Processor:
    """Read `/proc/cpuinfo` of the first core; where there is none the name alone is known."""
    try:
        with cpuinfo.open("rb") as stream:  # it grows with the cores
            text = stream.read(_ONE_CORE_BYTES).decode("utf-8", "replace")
    except OSError:
        return Processor(_processor_name() or platform.processor() or platform.machine(), ())
    facts: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    return Processor(
        model=facts.get("model name") or platform.machine(),
        features=tuple(name for name, any_of in FEATURES.items() if flags & set(any_of)),
        flags=tuple(sorted(flags)),
        identity=" ".join(facts[name] for name in _IDENTITY if name in facts),
    )


def _processor_name() -> str:
    """As macOS and Windows know it: `platform.processor()` is "arm" for every one of Apple's."""
    with suppress(OSError, AttributeError, ValueError):
        if sys.platform == "darwin":
            name, size = ctypes.create_string_buffer(256), ctypes.c_size_t(256)
            ask = ctypes.CDLL(None).sysctlbyname
            if ask(b"machdep.cpu.brand_string", name, ctypes.byref(size), None, 0) == 0:
                return name.value.decode(errors="replace")
        if sys.platform == "win32":
            import winreg

            place = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, place) as key:
                return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    return ""


def has_arm_bf16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether this is an Arm processor that multiplies in bfloat16, under Linux."""
    return {"NEON", "BF16"} <= set(read_processor(cpuinfo).features)


# The NVIDIA driver and its GPUs, as the driver's own library NVML names them.


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU."""

    name: str
    compute_capability: str
    """`MAJOR.MINOR`."""
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Driver:
    """The NVIDIA driver."""

    version: str
    cuda: str
    """The newest CUDA version that it can run, `MAJOR.MINOR`."""
    gpus: tuple[Gpu, ...]


def read_driver() -> Driver | None:
    """Ask the driver; None where it is not there or doesn't answer, and without nvidia-ml-py."""
    try:
        import pynvml
    except ModuleNotFoundError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        gpus = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            gpu = pynvml.nvmlDeviceGetHandleByIndex(index)
            major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(gpu)
            memory = pynvml.nvmlDeviceGetMemoryInfo(gpu)
            gpus.append(Gpu(pynvml.nvmlDeviceGetName(gpu), f"{major}.{minor}", int(memory.total)))
        cuda = pynvml.nvmlSystemGetCudaDriverVersion_v2()
        newest_cuda = f"{cuda // 1000}.{cuda % 1000 // 10}"
        return Driver(pynvml.nvmlSystemGetDriverVersion(), newest_cuda, tuple(gpus))
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()
