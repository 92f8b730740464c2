"""A model whose answer is known, and images for it; a run as it might have been."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from birefnet_benchmarks.bench.results import BenchReport, write_report
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from .report.sample import draw, make_report

SIDE = 64
FACTS = {
    "format": "1",
    "trained_size": f"{SIDE}x{SIDE}",
    "mean": "[0.5, 0.5, 0.5]",
    "std": "[0.01, 0.01, 0.01]",
    "resize": "stretch-bilinear-antialias",
    "output": "logits",
    "size_multiple": "32",
}


def write_brightness(path, **facts):
    """A graph whose mask is white where the image is bright and black where it is dark."""
    shape = ["batch", 3, "height", "width"]
    kernel = np.full((1, 3, 1, 1), 1 / 3, np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["input_image", "kernel"], ["output_image"])],
        "brightness",
        [helper.make_tensor_value_info("input_image", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info(
                "output_image", TensorProto.FLOAT, ["batch", 1, "height", "width"]
            )
        ],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    stated = {f"birefnet.{key}": value for key, value in (FACTS | facts).items()}
    helper.set_model_props(model, stated)
    onnx.save(model, path)
    return path


def write_pair(folder: Path, name: str, seen: float = 1.0, side: int = SIDE):
    """An image in `im/` and its mask in `gt/`: a square, of which the image shows a share."""
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : side * 3 // 4, side // 4 : side * 3 // 4] = 255
    image = mask.copy()
    image[:, side // 4 + round(side // 2 * seen) :] = 0
    for where, pixels in (("im", image), ("gt", mask)):
        path = folder / where / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


@pytest.fixture(scope="session")
def brightness(tmp_path_factory):
    """An `.onnx` file trained at 64 x 64 that finds what is bright."""
    return write_brightness(tmp_path_factory.mktemp("brightness") / "brightness.onnx")


@pytest.fixture
def report() -> BenchReport:
    return make_report()


@pytest.fixture
def run(tmp_path, report) -> Path:
    """A run's folder, with its pictures."""
    draw(tmp_path / "run" / "pictures")
    write_report(tmp_path / "run", report)
    return tmp_path / "run"
