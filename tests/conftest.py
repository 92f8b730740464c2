"""What holds for every test, and the small models and images that many of them share."""

import gc
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .hub_server import Hub, serving

# No test reaches a real hub, whatever name it looks up: nothing listens there.
os.environ.setdefault("HF_ENDPOINT", "http://127.0.0.1:9")

# The user's cache is left alone; workers and programs that tests start share this one.
if "BIREFNET_CACHE" not in os.environ:
    CACHE = tempfile.TemporaryDirectory(prefix="birefnet-tests-")
    os.environ["BIREFNET_CACHE"] = CACHE.name
    os.environ["HF_HOME"] = os.path.join(CACHE.name, "huggingface")

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


FACTS = {
    "birefnet.format": "1",
    "birefnet.trained_size": "64x64",
    "birefnet.mean": "[0.5, 0.5, 0.5]",
    "birefnet.std": "[0.25, 0.25, 0.25]",
    "birefnet.resize": "stretch-bilinear-antialias",
    "birefnet.output": "logits",
    "birefnet.size_multiple": "32",
}

MakeModel = Callable[..., Path]


def write_model(
    path: Path, *, facts: Mapping[str, str] = FACTS, weight: float = 4.0, channels: int = 3
) -> Path:
    """A graph whose logit is a weighted sum of a pixel's channels: bright is subject."""
    kernel = np.full((1, channels, 1, 1), weight / channels, np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["input_image", "kernel"], ["output_image"])],
        "brightness",
        [
            helper.make_tensor_value_info(
                "input_image", TensorProto.FLOAT, ["batch", channels, "height", "width"]
            )
        ],
        [
            helper.make_tensor_value_info(
                "output_image", TensorProto.FLOAT, ["batch", 1, "height", "width"]
            )
        ],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    helper.set_model_props(model, dict(facts))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Write a model with other facts, weight or channels than `model`."""

    def make(name: str = "made.onnx", **options: Any) -> Path:
        return write_model(tmp_path / name, **options)

    return make


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An `.onnx` file trained at 64 x 64: alpha is near 1 where the image is bright."""
    return write_model(tmp_path_factory.mktemp("model") / "brightness.onnx")


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    """uint8 (48, 80, 3) RGB: the left quarter white, the rest black."""
    image = np.zeros((48, 80, 3), np.uint8)
    image[:, :20] = 255
    return image


@pytest.fixture(scope="session")
def hub_server() -> Iterator[Hub]:
    with serving() as hub:
        yield hub


@pytest.fixture
def hub(hub_server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub on loopback with nothing on it; empty caches, nobody logged in, a working directory.

    The settings of the hub's client, which it reads when it is imported, are as the environment
    has them.
    """
    from huggingface_hub import constants

    hub_server.reset()
    home = tmp_path / "hf"
    monkeypatch.setenv("HF_ENDPOINT", hub_server.url)
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_TOKEN_PATH", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", hub_server.url)
    template = hub_server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    (tmp_path / "here").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "here")
    return hub_server


@pytest.fixture
def without_collector() -> Iterator[None]:
    """What is gone went because nothing holds it, not because it was collected."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
