"""A model from pixels to alpha, for several tests."""

import onnx
import pytest
from onnx import TensorProto, helper

from ..conftest import FACTS

PIXELS = {"birefnet.output": "alpha", "birefnet.activation_bytes_per_pixel": "100"}


@pytest.fixture
def make_pixel_model(tmp_path):
    """Alpha is the red channel."""

    def make(facts=FACTS | PIXELS):
        graph = helper.make_graph(
            [
                helper.make_node("Split", ["image"], ["red", "green", "blue"], axis=3),
                helper.make_node("Squeeze", ["red", "axis"], ["alpha"]),
            ],
            "red",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", "h", "w", 3])],
            [helper.make_tensor_value_info("alpha", TensorProto.UINT8, ["batch", "h", "w"])],
            [helper.make_tensor("axis", TensorProto.INT64, [1], [3])],
        )
        graph.node[0].attribute.append(helper.make_attribute("num_outputs", 3))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        helper.set_model_props(model, dict(facts))
        onnx.save(model, tmp_path / "pixels.onnx")
        return tmp_path / "pixels.onnx"

    return make
