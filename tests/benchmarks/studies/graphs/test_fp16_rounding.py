"""Rounding of single operators to float16."""

import numpy as np
import onnx
import onnxruntime
import pytest
from birefnet_models import embedded_path, find
from onnx import TensorProto, helper
from studies.graphs.fp16_rounding import ALL, WEIGHTS, costs, rounded


def test_rounding_to_half_survives_onnxruntimes_optimization():
    axes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy"]
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["s"], name="sigmoid"),
        helper.make_node("Add", ["s", "zero"], ["y"], name="add"),
    ]
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])
    graph = helper.make_graph(nodes, "graph", axes[:1], axes[1:], [zero])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    x = np.linspace(-3, 3, 7, dtype=np.float32)

    changed = rounded(model, {"sigmoid"}, weights=False)
    onnx.checker.check_model(changed, full_check=True)
    session = onnxruntime.InferenceSession(
        changed.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    expected = (1 / (1 + np.exp(-x))).astype(np.float16).astype(np.float32)
    assert np.allclose(session.run(None, {"x": x})[0], expected, atol=1e-7, rtol=0)


@pytest.mark.slow
def test_every_kind_of_a_networks_nodes_has_a_row():
    image = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)

    rows = costs(onnx.load(embedded_path(find("nano"))), [image])

    by_kind = {row["kind"]: row for row in rows}
    assert {ALL, WEIGHTS, "Attention", "Conv", "DeformConv", "LayerNormalization"} <= set(by_kind)
    assert by_kind["DeformConv"]["nodes"] == 20
    assert 0 < by_kind["Conv"]["mask_mean_abs"] < 0.01
    assert by_kind[ALL]["largest"] == max(row["largest"] for row in rows) > 1
