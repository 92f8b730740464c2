"""Write the tiny graphs that `birefnet doctor` runs on each provider.

A deformable convolution with offsets of zero, then a matrix product, so that the right answer is
known; and the same with `GridSample` and a convolution, for an ONNX Runtime without `DeformConv`.
`python docs/provider_check_graph.py` writes them beside the programs' doctor.py.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FOLDER = Path(__file__).parents[1] / "runtime/birefnet_apps"


def make_graph(gridsample: bool = False) -> onnx.ModelProto:
    """float32 (1, 3, 8, 8) to (1, 1, 8, 8): the sum of a pixel's channels, doubled."""
    ones = np.ones((1, 3, 1, 1), np.float32)
    centers = np.linspace(-7 / 8, 7 / 8, 8, dtype=np.float32)
    constants = {"weight": ones}
    if gridsample:
        constants["grid"] = np.stack(np.meshgrid(centers, centers), axis=-1)[None]
        sums = [
            helper.make_node("GridSample", ["input_image", "grid"], ["sampled"]),
            helper.make_node("Conv", ["sampled", "weight"], ["sum"]),
        ]
    else:
        constants["offset"] = np.zeros((1, 2, 8, 8), np.float32)
        sums = [helper.make_node("DeformConv", ["input_image", "weight", "offset"], ["sum"])]
    constants["double"] = 2 * np.eye(8, dtype=np.float32)
    nodes = [
        *sums,
        helper.make_node("MatMul", ["sum", "double"], ["output_image"]),
    ]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 8, 8])]
        for name, channels in (("input_image", 3), ("output_image", 1))
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "probe", *ends, initializers)
    opset, ir_version = (17, 8) if gridsample else (19, 9)
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version)


if __name__ == "__main__":
    for name, gridsample in (("provider_check", False), ("provider_check_gridsample", True)):
        serialized = make_graph(gridsample).SerializeToString(deterministic=True)
        (FOLDER / f"{name}.onnx").write_bytes(serialized)
