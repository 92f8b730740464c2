"""Counters of energy and of GPU memory, where there are some and where there are none."""

import types

import pytest
from birefnet_benchmarks.bench.measure.energy_and_gpu import CpuCounters, counters_for


def zone(root, name, energy_uj, called):
    folder = root / name
    folder.mkdir()
    (folder / "name").write_text(f"{called}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text("10000000\n")
    return folder


def test_packages_count_and_their_parts_do_not(tmp_path):
    first = zone(tmp_path, "intel-rapl:0", 1_000_000, "package-0")
    second = zone(tmp_path, "intel-rapl:1", 2_000_000, "package-1")
    part = zone(tmp_path, "intel-rapl:0:0", 500_000, "core")
    counters = CpuCounters(tmp_path)
    begun = counters.energy_j()

    (first / "energy_uj").write_text("3500000")
    (second / "energy_uj").write_text("2500000")
    (part / "energy_uj").write_text("7500000")

    assert counters.energy_j() - begun == pytest.approx(3.0)
    assert counters.device_bytes() is None


def test_a_counter_that_begins_anew_still_grows(tmp_path):
    package = zone(tmp_path, "intel-rapl:0", 9_000_000, "package-0")
    counters = CpuCounters(tmp_path)
    begun = counters.energy_j()

    (package / "energy_uj").write_text("500000")

    assert counters.energy_j() - begun == pytest.approx(1.5)


def test_without_counters_there_is_no_figure(tmp_path):
    assert CpuCounters(tmp_path).energy_j() is None


def nvml(found=True):
    class NVMLError(Exception):
        pass

    def handle(index):
        if not found:
            raise NVMLError
        return index

    def energy(handle):
        if handle == 0:
            raise NVMLError  # not on this GPU
        return 2500

    return types.SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=handle,
        nvmlDeviceGetMemoryInfo=lambda handle: types.SimpleNamespace(used=1000 + handle, free=500),
        nvmlDeviceGetTotalEnergyConsumption=energy,
    )


@pytest.mark.parametrize(
    ("provider", "used", "joules"), [("cuda", 1000, None), ("cuda:1", 1001, 2.5)]
)
def test_a_gpu_is_read_by_its_number(monkeypatch, provider, used, joules):
    monkeypatch.setitem(__import__("sys").modules, "pynvml", nvml())

    counters = counters_for(provider)

    assert counters.device_bytes() == used
    assert counters.device_free_bytes() == 500
    assert counters.energy_j() == joules


def test_without_a_gpu_nothing_is_read_of_one(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pynvml", nvml(found=False))

    assert counters_for("tensorrt:fp16").device_bytes() is None
