"""The NVIDIA driver and its GPUs, as the driver's own library NVML names them."""

from dataclasses import dataclass


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
