"""Write the tiny graph that `birefnet doctor` runs on each provider.

A deformable convolution with offsets of zero, then a matrix product, so that the right answer is
known. `python docs/provider_check_graph.py` writes it into the runtime's `doctor/`.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TARGET = Path(__file__).parents[1] / "runtime/birefnet_runtime/doctor/provider_check.onnx"


def make_graph() -> onnx.ModelProto:
    """float32 (1, 3, 8, 8) to (1, 1, 8, 8): the sum of a pixel's channels, doubled."""
    ones = np.ones((1, 3, 1, 1), np.float32)
    constants = {
        "weight": ones,
        "offset": np.zeros((1, 2, 8, 8), np.float32),
        "double": 2 * np.eye(8, dtype=np.float32),
    }
    nodes = [
        helper.make_node("DeformConv", ["input_image", "weight", "offset"], ["sum"]),
        helper.make_node("MatMul", ["sum", "double"], ["output_image"]),
    ]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 8, 8])]
        for name, channels in (("input_image", 3), ("output_image", 1))
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "probe", *ends, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


if __name__ == "__main__":
    TARGET.write_bytes(make_graph().SerializeToString(deterministic=True))
