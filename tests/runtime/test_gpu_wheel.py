"""The real onnxruntime-gpu wheel on a machine without CUDA: the commonest silent fallback, loud.

Run in `.venv-gpu`, which `make test` makes; another environment's Python may be given in
BIREFNET_GPU_PYTHON.
"""

import json
import mmap
import os
import subprocess
from pathlib import Path

import pytest
from birefnet_runtime import Cuda, TensorRT
from birefnet_runtime.session.ort_options import cuda_options, tensorrt_options
from birefnet_runtime.session.providers import Profile
from PIL import Image

pytestmark = pytest.mark.gpu_wheel

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "examples/photos/flower.jpg"
NANO = ROOT / "models/birefnet_models/embedded/nano.onnx"


@pytest.fixture(scope="module")
def python() -> Path:
    path = Path(os.environ.get("BIREFNET_GPU_PYTHON", ROOT / ".venv-gpu/bin/python"))
    if not path.exists():
        reason = f"{path} is not there: `make test` installs onnxruntime-gpu into .venv-gpu"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="module")
def birefnet(python):
    """Run `birefnet` there, with this checkout's code."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        program = "from birefnet_apps.cli.main import main; main()"
        return subprocess.run(
            [python, "-c", program, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ
            | {"PYTHONPATH": f"{ROOT / 'runtime'}:{ROOT / 'models'}", "COLUMNS": "200"},
        )

    return run


@pytest.fixture(scope="module")
def state(birefnet):
    """What `birefnet doctor --json` says of each provider there."""
    done = birefnet("doctor", "--json")
    found = json.loads(done.stdout)
    states = {state["name"]: state for state in found["providers"]}
    if states["cuda"]["verified"]:
        pytest.skip("CUDA works on this machine: see the tests marked gpu")
    return found | {"states": states, "code": done.returncode}


def test_onnxruntime_itself_lists_cuda_and_hands_back_the_cpu(python, state):
    """The reason for all this; should it ever raise instead, the code can become simpler."""
    program = (
        "import sys, onnxruntime as o; o.set_default_logger_severity(4);"
        "s = o.InferenceSession(sys.argv[1], providers=['CUDAExecutionProvider']);"
        "print('CUDAExecutionProvider' in o.get_available_providers(), *s.get_providers())"
    )

    done = subprocess.run([python, "-c", program, NANO], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "True CPUExecutionProvider"


def test_cuda_is_one_line_that_names_the_libraries_and_no_file(birefnet, state, tmp_path):
    done = birefnet("cutout", PHOTO, "--provider", "cuda", "-o", tmp_path / "out.png")

    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("birefnet: cuda can't run here: ")
    missing = state["states"]["cuda"]["missing"]
    assert "libcuda.so.1" in missing
    for library in missing:
        assert library in line
    assert "wants CUDA 13 and cuDNN 9; install an NVIDIA driver" in line
    assert not list(tmp_path.iterdir())


def test_cuda_with_a_fallback_is_a_cutout_and_a_line_that_says_so(birefnet, state, tmp_path):
    done = birefnet("cutout", PHOTO, "--provider", "cuda,cpu", "-o", tmp_path / "out.png")

    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out.png") as cut:
        assert cut.mode == "RGBA"
    (told,) = [line for line in done.stderr.splitlines() if "provider" in line or " cuda" in line]
    assert told.startswith("birefnet: running on cpu, for cuda can't run here: lib")
    assert "onnxruntime_pybind" not in done.stderr, "ONNX Runtime's own lines are caught"


def test_tensorrt_names_its_libraries_too(birefnet, state, tmp_path):
    done = birefnet("cutout", PHOTO, "--provider", "tensorrt", "-o", tmp_path / "out.png")

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "libnvinfer.so.10" in line
    assert "'tensorrt-cu13-libs==10.*'" in line
    assert not list(tmp_path.iterdir())


def test_doctor_agrees(birefnet, state):
    assert state["build"]["package"] == "onnxruntime-gpu"
    assert state["build"]["cuda"].startswith("13.")
    assert state["build"]["conflict"] is None
    for name in ("cuda", "tensorrt"):
        found = state["states"][name]
        assert (found["installed"], found["loadable"], found["verified"]) == (True, False, False)
        assert found["wants"]["cuda"] == 13
        assert found["wants"]["cudnn"] == 9
    assert state["states"]["tensorrt"]["wants"]["tensorrt"] == 10
    assert state["states"]["cpu"]["verified"]
    assert state["states"]["cpu"]["placement"]["CPUExecutionProvider"]["DeformConv"] == 1
    assert (state["code"], state["healthy"]) == (0, True)
    assert "cuda is installed and doesn't work" in state["advice"]


def test_a_health_check_fails(birefnet, state):
    done = birefnet("doctor", "--require", "cuda")

    assert done.returncode == 1
    assert "cuda doesn't work: lib" in done.stdout
    assert done.stderr == ""


@pytest.fixture(scope="module")
def contains(python):
    """Whether a text stands in one of the wheel's provider libraries."""
    program = "import onnxruntime, pathlib; print(pathlib.Path(onnxruntime.__file__).parent)"
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    opened = {}
    for name in ("cuda", "tensorrt"):
        path = Path(done.stdout.strip(), "capi", f"libonnxruntime_providers_{name}.so")
        with path.open("rb") as file:
            opened[name] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def find(provider: str, text: str) -> bool:
        return opened[provider].find(b"\0" + text.encode() + b"\0") >= 0

    yield find
    for library in opened.values():
        library.close()


def test_every_option_is_known_to_the_providers_library(contains):
    profile = Profile(smallest=(1, 32, 32), best=(1, 64, 64), largest=(2, 96, 96))
    cuda = cuda_options(Cuda(memory_limit_bytes=1 << 30))
    tensorrt = tensorrt_options(TensorRT(profile=profile), directory=Path("cache"))

    assert not contains("cuda", "no_such_option")
    for name in cuda:
        assert contains("cuda", name), name
    for value in ("kNextPowerOfTwo", "kSameAsRequested", "HEURISTIC", "EXHAUSTIVE", "DEFAULT"):
        assert contains("cuda", value), value
    for name in tensorrt:
        assert contains("tensorrt", name), name
