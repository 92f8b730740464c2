"""`birefnet bench` on an NVIDIA GPU: `make test-gpu`."""

from pathlib import Path

import pytest
from birefnet_apps.cli.main import main
from birefnet_benchmarks.bench.results import read_report
from click.testing import CliRunner

CHECKPOINT = Path(__file__).parents[2] / "models" / "nano" / "model.safetensors"

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu")
    arguments = (
        *("bench", "nano", "--against", str(CHECKPOINT), "--pytorch", "eager,eager:cuda"),
        *("--providers", "cpu,cuda", "--sizes", "192", "--seconds", "1", "--output", str(folder)),
    )
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    found = read_report(folder).results
    return {(each.configuration.backend, each.configuration.provider): each for each in found}


@pytest.mark.parametrize("backend", ["pytorch", "onnxruntime"])
def test_a_configuration_on_the_gpu_takes_its_memory_and_gives_the_same_answer(results, backend):
    found = results[backend, "cuda"]

    assert found.error is None
    assert found.peak_device_bytes > 50e6
    assert found.graph.problem is None


def test_a_configuration_on_the_cpu_takes_none_of_it(results):
    assert results["onnxruntime", "cpu"].peak_device_bytes is None
