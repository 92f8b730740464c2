"""The reader without onnx, held against onnx itself."""

import os
import time
from math import prod
from pathlib import Path

import onnx
import pytest
from birefnet_models import OnnxFileError, embedded_path, find
from birefnet_models.base.onnx_file import Initializer, ValueInfo, read_onnx
from hypothesis import given, settings
from hypothesis import strategies as st
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


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"not a protobuf", "not an ONNX model"),
        (b"\x08\x07", "not an ONNX model"),
        (b"\xff" * 40, "not an ONNX model"),
        (b"", "is empty"),
        (b"<html>", "HTML page"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
    ],
)
def test_a_file_that_is_no_model_is_named(tmp_path, content, says):
    file = tmp_path / "bad.onnx"
    file.write_bytes(content)

    with pytest.raises(OnnxFileError, match=f"bad.onnx: .*{says}"):
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


def test_a_file_cut_by_its_last_byte_is_refused(tmp_path):
    file = tmp_path / "cut.onnx"
    file.write_bytes(NANO.read_bytes()[:-1])

    with pytest.raises(OnnxFileError, match="or a damaged one"):
        read_onnx(file)


def field(number: int, content: bytes | int) -> bytes:
    """A field in protobuf's encoding, of small numbers and sizes."""
    if isinstance(content, int):
        return bytes([number << 3, content])
    return bytes([number << 3 | 2, len(content)]) + content


GRAPH = field(1, field(4, b"Relu"))
SOUND = field(1, 10) + field(7, GRAPH)


@pytest.mark.parametrize(
    ("content", "sound"),
    [
        (SOUND, True),
        (SOUND + b"\x28" + b"\xff" * 9 + b"\x01", True),  # model_version, ten bytes
        (SOUND + b"\x28" + b"\xff" * 12 + b"\x01", False),  # thirteen
        (SOUND + b"\x28" + b"\xff" * 10 + b"\x01", False),
        (SOUND + b"\x2a\x05abcd", False),  # a field that ends after the file
        (field(1, 10) + field(7, b"\x0a\x05abcd"), False),  # and after its message
        (SOUND + b"\x00\x01", False),  # number 0
        (SOUND + b"\x02\x00", False),
        (SOUND + b"\x2b", False),  # a group, which no writer uses
        (SOUND + b"\x25\x01\x02\x03\x04", True),  # four bytes
        (SOUND + b"\x25\x01\x02\x03", False),
        (SOUND + b"\x21\x01\x02\x03\x04\x05\x06\x07\x08", True),  # eight bytes
        (SOUND + b"\x21\x01\x02\x03\x04\x05\x06\x07", False),
        (field(1, 10) + field(7, 3), False),  # an integer for the graph
        (field(7, GRAPH), False),  # no version
        (field(1, 10), False),  # no graph
        (field(1, 10) + field(7, field(1, field(4, b"\xff\xfe"))), False),  # no UTF-8
    ],
)
def test_the_encoding_is_checked(tmp_path, content, sound):
    file = tmp_path / "a.onnx"
    file.write_bytes(content)

    if sound:
        assert [node.op_type for node in read_onnx(file).nodes] == ["Relu"]
    else:
        with pytest.raises(OnnxFileError, match="not an ONNX model"):
            read_onnx(file)


def test_a_negative_size_is_negative(tmp_path):
    shape = field(2, field(1, field(1, 1)[:1] + b"\xff" * 9 + b"\x01"))
    graph = field(11, field(1, b"x") + field(2, field(1, field(1, 1) + shape)))
    (tmp_path / "a.onnx").write_bytes(field(1, 10) + field(7, graph))

    assert read_onnx(tmp_path / "a.onnx").inputs == (ValueInfo("x", "float32", (-1,)),)


def test_sizes_may_be_packed(tmp_path):
    tensor = field(1, bytes([2, 3])) + field(1, 4) + field(2, 1) + field(8, b"w")
    (tmp_path / "a.onnx").write_bytes(field(1, 10) + field(7, field(5, tensor)))

    (weight,) = read_onnx(tmp_path / "a.onnx").weights
    assert weight == Initializer("w", "float32", (2, 3, 4), external=False)


def test_zero_points_are_no_parameters(tmp_path):
    weights = [
        helper.make_tensor("w", TensorProto.INT8, [2, 3], bytes(6), raw=True),
        helper.make_tensor("zero_points", TensorProto.INT8, [3], bytes(3), raw=True),
        helper.make_tensor("scales", TensorProto.FLOAT, [3], bytes(12), raw=True),
        helper.make_tensor("shape", TensorProto.INT64, [4], bytes(32), raw=True),
    ]
    onnx.save(helper.make_model(helper.make_graph([], "g", [], [], weights)), tmp_path / "m.onnx")

    assert read_onnx(tmp_path / "m.onnx").parameters == 6 + 3


@pytest.mark.parametrize(
    ("nodes", "is_mask"),
    [
        ([("Sigmoid", "x", "y")], True),
        ([("Conv", "x", "y")], False),
        ([("Clip", "x", "a"), ("Resize", "a", "b"), ("Cast", "b", "y")], True),
        ([("Identity", "y", "y")], False),
        ([("Identity", "a", "y"), ("Cast", "y", "a")], False),
        ([("Identity", None, "y")], False),
        ([("Sigmoid", "x", "other")], False),
        ([], False),
    ],
)
def test_a_mask_is_known_by_what_makes_it(tmp_path, nodes, is_mask):
    made = [helper.make_node(op, [a] if a else [], [b]) for op, a, b in nodes]
    onnx.save(helper.make_model(helper.make_graph(made, "g", [], [])), tmp_path / "m.onnx")

    assert read_onnx(tmp_path / "m.onnx").ends_in_mask("y") is is_mask


def test_a_file_of_nothing_but_fields_ends_soon(tmp_path):
    nodes = field(1, b"") * (3 << 20)
    size = bytes(
        [128 | len(nodes) & 127, 128 | len(nodes) >> 7 & 127, 128 | len(nodes) >> 14 & 127]
    )
    graph = b"\x3a" + size + bytes([len(nodes) >> 21]) + nodes
    (tmp_path / "a.onnx").write_bytes(field(1, 10) + graph)
    started = time.monotonic()

    with pytest.raises(OnnxFileError, match="damaged"):
        read_onnx(tmp_path / "a.onnx")
    assert time.monotonic() - started < 20


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.onnx")

    with pytest.raises(OnnxFileError, match="not a regular file"):
        read_onnx(tmp_path / "a.onnx")


def small_model() -> bytes:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2], bytes(8), raw=True)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, None, "w"])
    node = helper.make_node("Add", ["x", "w"], ["y"])
    model = helper.make_model(helper.make_graph([node], "g", [x], [x], [weight]))
    helper.set_model_props(model, {"birefnet.model": "nano"})
    return model.SerializeToString()


MODEL = small_model()


def refusal(file: Path) -> str:
    try:
        read_onnx(file)
    except OnnxFileError as error:
        return str(error)
    return ""


@settings(deadline=None)
@given(
    st.binary(max_size=100)
    | st.binary(max_size=30).map(lambda tail: MODEL + tail)
    | st.lists(
        st.tuples(st.integers(0, len(MODEL) - 1), st.integers(0, 255)), min_size=1, max_size=5
    ).map(lambda changes: bytes(dict(changes).get(i, byte) for i, byte in enumerate(MODEL)))
)
def test_any_bytes_are_a_model_or_one_error(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "any.onnx"
    file.write_bytes(content)

    assert "\n" not in refusal(file)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OnnxFileError, match=r"none\.onnx: .* No such file"):
        read_onnx(tmp_path / "none.onnx")
