"""Counters that the machine keeps: energy, and memory of a GPU.

Processors count energy through RAPL (the kernel's power capping documentation), which often only
root may read; NVIDIA's GPUs through NVML. What can't be read is None, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

POWERCAP = Path("/sys/class/powercap")


class Counters(Protocol):
    """Counters that can be read while a configuration runs."""

    def device_bytes(self) -> int | None:
        """Used memory of the GPU, by all processes."""

    def device_free_bytes(self) -> int | None:
        """Free memory of the GPU."""

    def energy_j(self) -> float | None:
        """Joules since an unknown moment; only differences mean something."""


class CpuCounters:
    """Energy of all processor packages of the machine."""

    def __init__(self, root: Path = POWERCAP) -> None:
        self._zones = dict.fromkeys(_packages(root), 0)
        self._last: dict[Path, int] = {}

    def device_bytes(self) -> int | None:
        return None

    def device_free_bytes(self) -> int | None:
        return None

    def energy_j(self) -> float | None:
        if not self._zones:
            return None
        for zone in self._zones:
            now = int((zone / "energy_uj").read_text())
            grown = now - self._last.get(zone, now)
            if grown < 0:  # the counter has begun anew
                grown += int((zone / "max_energy_range_uj").read_text())
            self._zones[zone] += grown
            self._last[zone] = now
        return sum(self._zones.values()) / 1e6


def _packages(root: Path) -> Iterator[Path]:
    """Readable zones of whole packages; zones of their parts would count twice."""
    for zone in sorted(root.glob("intel-rapl:*")):
        try:
            (zone / "energy_uj").read_text()
            name = (zone / "name").read_text()
        except OSError:
            continue
        if name.startswith("package"):
            yield zone


class GpuCounters:
    """One NVIDIA GPU, by its index. Use by other processes counts, too."""

    def __init__(self, nvml: Any, index: int) -> None:
        self._nvml = nvml
        self._handle = nvml.nvmlDeviceGetHandleByIndex(index)

    def device_bytes(self) -> int | None:
        return self._memory_bytes("used")

    def device_free_bytes(self) -> int | None:
        return self._memory_bytes("free")

    def _memory_bytes(self, what: str) -> int | None:
        try:
            return int(getattr(self._nvml.nvmlDeviceGetMemoryInfo(self._handle), what))
        except self._nvml.NVMLError:
            return None

    def energy_j(self) -> float | None:
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1e3
        except self._nvml.NVMLError:
            return None


def counters_for(provider: str) -> Counters:
    """The counters of the device that a provider runs on, `cuda:1` being the second GPU."""
    name, *words = provider.split(":")
    if name not in ("cuda", "tensorrt"):
        return CpuCounters()
    import pynvml

    try:
        pynvml.nvmlInit()
        return GpuCounters(pynvml, next((int(word) for word in words if word.isdecimal()), 0))
    except pynvml.NVMLError:
        return CpuCounters()  # opening the configuration fails with the reason
