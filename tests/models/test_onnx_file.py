"""The reader without onnx, held against onnx itself."""

from math import prod

import onnx
import pytest
from birefnet_models import OnnxFileError, embedded_path, find
from birefnet_models.onnx_file import Initializer, ValueInfo, read_onnx
from onnx import TensorProto, helper

NANO = embedded_path(find("nano"))


def test_it_reads_what_onnx_reads():
    found, expected = read_onnx(NANO), onnx.load(NANO)

    assert found.ir_version == expected.ir_version
    assert found.producer == expected.producer_name
    assert found.opsets == {entry.domain: entry.version for entry in expected.opset_import}
    assert found.properties == {entry.key: entry.value for entry in expected.metadata_props}
    assert [(n.op_type, list(n.inputs), list(n.outputs)) for n in found.nodes] == [
        (n.op_type, list(n.input), list(n.output)) for n in expected.graph.node
    ]
    assert [(w.name, w.shape) for w in found.weights] == [
        (w.name, tuple(w.dims)) for w in expected.graph.initializer
    ]
    assert found.parameters == sum(
        prod(w.dims) for w in expected.graph.initializer if w.data_type == TensorProto.FLOAT
    )
    assert found.inputs == (ValueInfo("input_image", "float32", ("batch", 3, "height", "width")),)


def test_external_weights_constants_among_the_inputs_and_missing_shapes(tmp_path):
    half, scalar = TensorProto.FLOAT16, TensorProto.INT64
    kernel = helper.make_tensor("kernel", half, [2, 3], b"\0" * 12, raw=True)
    kernel.data_location = TensorProto.EXTERNAL
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "kernel"], ["y"])],
        "g",
        [
            helper.make_tensor_value_info("x", half, [1, None, "w"]),
            helper.make_tensor_value_info("kernel", half, [2, 3]),
        ],
        [helper.make_tensor_value_info("y", half, None)],
        [kernel, helper.make_tensor("n", scalar, [], [-1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.x", 3)])
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())

    found = read_onnx(tmp_path / "m.onnx")

    assert found.inputs == (ValueInfo("x", "float16", (1, "?", "w")),)
    assert found.outputs == (ValueInfo("y", "float16", None),)
    assert found.weights == (
        Initializer("kernel", "float16", (2, 3), external=True),
        Initializer("n", "int64", (), external=False),
    )
    assert found.opsets == {"ai.x": 3}


@pytest.mark.parametrize("content", [b"", b"not a protobuf", b"\x08\x07", b"\xff" * 40, b"<html>"])
def test_a_file_that_is_no_model_is_named(tmp_path, content):
    file = tmp_path / "bad.onnx"
    file.write_bytes(content)

    with pytest.raises(OnnxFileError, match=r"bad\.onnx: is no ONNX model"):
        read_onnx(file)


def test_every_truncation_is_noticed_or_harmless(tmp_path):
    """Cut anywhere, the reader says so or reads whole fields; it never raises something else."""
    whole = NANO.read_bytes()
    file = tmp_path / "cut.onnx"
    refused = 0
    for size in range(1, len(whole), len(whole) // 20):
        file.write_bytes(whole[:size])
        try:
            read_onnx(file)
        except OnnxFileError:
            refused += 1

    assert refused > 15


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OnnxFileError, match=r"none\.onnx: can't be read: No such file"):
        read_onnx(tmp_path / "none.onnx")
