"""On an NVIDIA GPU: `make test-gpu`. Nothing here has run on hardware yet.

Parity is against this machine's own CPU; tolerances of fp16 are those that `engines` refuses at.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from birefnet_runtime import Cuda, Segmenter, SizeError, TensorRT
from birefnet_runtime.session.availability import installed_versions
from birefnet_runtime.session.judge import BY_CPU, HALF
from birefnet_runtime.session.open import open_session

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).parents[2]
NANO = ROOT / "models/birefnet_models/embedded/nano.onnx"
PHOTO = ROOT / "examples/photos/flower.jpg"
FP16, FP32 = HALF["alpha"], BY_CPU["alpha"]
SHAPES = [(1, 192, 192), (1, 224, 352), (2, 256, 192), (4, 192, 192)]


def sample_image(shape):
    """Normalized float32 (batch, 3, height, width) of smooth noise."""
    batch, height, width = shape
    coarse = np.random.default_rng(height * 10_000 + width).normal(size=(batch, 3, 8, 8))
    return coarse.repeat(height // 8, 2).repeat(width // 8, 3).astype(np.float32)


def compare(answer, expected):
    """The largest and the mean difference of the masks of two maps of logits."""
    masks = (1 / (1 + np.exp(-logits.astype(np.float64))) for logits in (answer, expected))
    difference = np.abs(np.subtract(*masks))
    return {"largest": difference.max(), "mean": difference.mean()}


@pytest.fixture(scope="module")
def on_cpu():
    """Logits of nano on the CPU."""
    session = open_session(NANO, providers="cpu")
    return lambda tensor: session.run(None, {"input_image": tensor})[0]


@pytest.fixture(scope="module")
def cuda():
    return open_session(NANO, providers="cuda")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cuda_agrees_with_the_cpu_in_fp32(cuda, on_cpu, shape):
    tensor = sample_image(shape)

    np.testing.assert_allclose(
        cuda.run(None, {"input_image": tensor})[0], on_cpu(tensor), atol=1e-3, rtol=1e-3
    )


def test_half_precision_of_the_graph_on_cuda(on_cpu, tmp_path):
    """An fp16 graph with float32 ends, as `birefnet export --precision fp16` writes it."""
    export = [sys.executable, "-c", "from birefnet_apps.cli.main import main; main()", "export"]
    checkpoint = ROOT / "models/nano/model.safetensors"
    done = subprocess.run(
        [*export, checkpoint, "--output", tmp_path, "--precision", "fp16"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no fp16 export here: {done.stderr.strip().splitlines()[-1:]}")
    half = next(tmp_path.rglob("*fp16*.onnx"))
    tensor = sample_image((1, 192, 192))

    answer = open_session(half, providers="cuda").run(None, {"input_image": tensor})[0]

    parity = compare(answer, on_cpu(tensor))
    assert parity["mean"] <= FP16.mean
    assert parity["largest"] <= FP16.largest


def test_every_heavy_operator_runs_on_the_gpu(cuda):
    placement = cuda.session_info.placement

    assert placement.heavy_on("CPUExecutionProvider") == {}
    assert placement.heavy_on("CUDAExecutionProvider")["DeformConv"] > 0
    assert cuda.session_info.notes() == []


def test_buffers_stay_on_the_device_and_are_used_again(cuda):
    tensor = sample_image((1, 192, 192))
    cuda.run(None, {"input_image": tensor})
    kept = cuda._bound._shapes[tensor.shape]

    cuda.run(None, {"input_image": tensor})

    assert cuda._bound._shapes[tensor.shape] is kept
    assert kept.input.device_name().lower() == "cuda"
    assert kept.output.device_name().lower() == "cuda"


@pytest.mark.parametrize(
    "options",
    [
        {"prefer_nhwc": True},
        {"cuda_graph": True},
        {"tf32": True},
        {"conv_search": "exhaustive"},
        {"fuse_conv_bias": True},
        {"arena": "same-as-requested", "memory_limit_bytes": 2 << 30},
    ],
    ids=str,
)
def test_every_option_of_cuda_gives_the_same_mask(on_cpu, options):
    session = open_session(NANO, providers=Cuda(**options))

    for shape in (SHAPES[0], SHAPES[1], SHAPES[0]):
        tensor = sample_image(shape)
        answers = [session.run(None, {"input_image": tensor})[0] for _ in range(3)]
        for answer in answers:
            assert compare(answer, on_cpu(tensor))["largest"] <= FP32.largest


def test_a_memory_limit_that_is_too_small_is_an_error_and_not_the_cpu():
    segmenter = Segmenter("nano", providers=Cuda(memory_limit_bytes=1 << 20))

    with pytest.raises(Exception, match=r"(?i)alloc|memory"):
        segmenter(PHOTO)


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    if installed_versions().tensorrt is None:
        pytest.skip("TensorRT is not installed")
    return tmp_path_factory.mktemp("engines")


@pytest.mark.parametrize("fp16", [False, True])
def test_an_engine_is_built_checked_and_found_again(engines, on_cpu, fp16, capfd):
    record = TensorRT(cache=engines, fp16=fp16)
    first = open_session(NANO, providers=record)
    assert "building a TensorRT engine" in capfd.readouterr().err
    tensor = sample_image((1, 192, 192))
    tolerance = FP16 if fp16 else FP32
    parity = compare(first.run(None, {"input_image": tensor})[0], on_cpu(tensor))
    assert parity["mean"] <= tolerance.mean

    open_session(NANO, providers=record)

    assert "building" not in capfd.readouterr().err, "a hit"


def test_an_engine_of_another_version_is_built_anew(engines, capfd):
    open_session(NANO, providers=TensorRT(cache=engines))
    capfd.readouterr()
    for facts in engines.rglob("facts.json"):
        text = json.loads(facts.read_text())
        text["key"]["tensorrt"] = "10.0.0"
        facts.write_text(json.dumps(text))

    open_session(NANO, providers=TensorRT(cache=engines))

    assert "building a TensorRT engine" in capfd.readouterr().err
    shutil.rmtree(engines)


def test_tensorrt_takes_the_deformable_convolutions(engines):
    placement = open_session(NANO, providers=TensorRT(cache=engines)).info.placement

    assert placement.heavy_on("TensorrtExecutionProvider")["DeformConv"] > 0
    assert placement.heavy_on("CPUExecutionProvider") == {}


def test_a_profile_holds_several_sizes_and_refuses_others(engines, on_cpu):
    session = open_session(
        NANO, providers=TensorRT(cache=engines), sizes=[192, (224, 352)], batch=2
    )

    for shape in ((1, 192, 192), (2, 224, 352), (1, 224, 192)):
        tensor = sample_image(shape)
        parity = compare(session.run(None, {"input_image": tensor})[0], on_cpu(tensor))
        assert parity["mean"] <= FP32.mean
    with pytest.raises(SizeError, match=r"outside what .*TensorRT engine"):
        session.run(None, {"input_image": sample_image((1, 256, 256))})


@pytest.mark.parametrize("provider", ["cuda", "auto"])
def test_the_command_line_runs_on_the_gpu(tmp_path, provider):
    run = [sys.executable, "-c", "from birefnet_apps.cli.main import main; main()"]
    done = subprocess.run(
        [*run, "cutout", PHOTO, "--provider", provider, "-o", tmp_path / "out.png"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "can't run" not in done.stderr
    assert subprocess.run([*run, "doctor", "--require", "cuda"], check=False).returncode == 0
