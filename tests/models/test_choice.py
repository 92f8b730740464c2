import pytest
from birefnet_models import FetchError
from birefnet_models.reference import choose_graph, preprocessor_of

COMMUNITY = [
    "onnx/model.onnx",
    "onnx/model_fp16.onnx",
    "onnx/model_quantized.onnx",
    "onnx/model_q4f16.onnx",
    "config.json",
]


@pytest.mark.parametrize(
    ("names", "precision", "expected"),
    [
        (COMMUNITY, None, "onnx/model.onnx"),
        (COMMUNITY, "fp32", "onnx/model.onnx"),
        (COMMUNITY, "fp16", "onnx/model_fp16.onnx"),
        (COMMUNITY, "int8", "onnx/model_quantized.onnx"),
        (COMMUNITY, "q4f16", "onnx/model_q4f16.onnx"),
        ([*COMMUNITY, "onnx/model_int8.onnx"], "int8", "onnx/model_int8.onnx"),
        ([*COMMUNITY, "onnx/decoder.onnx"], None, "onnx/model.onnx"),
        ([*COMMUNITY, "other.onnx"], None, "onnx/model.onnx"),
        (
            [*COMMUNITY, "onnx/model_end_to_end_fp16.onnx"],
            "fp16",
            "onnx/model_fp16.onnx",
        ),
        (["onnx/model_fp16.onnx"], None, "onnx/model_fp16.onnx"),
        (["x-toonout.onnx", "x-toonout-fp16.onnx"], None, "x-toonout.onnx"),
        (["x-toonout.onnx", "x-toonout-fp16.onnx"], "fp16", "x-toonout-fp16.onnx"),
    ],
)
def test_the_graph_that_is_meant(names, precision, expected):
    assert choose_graph(names, precision, "a/b@main") == expected


@pytest.mark.parametrize(
    ("names", "precision", "says"),
    [
        (COMMUNITY, "int4", "holds no graph in int4; it holds onnx/model.onnx, onnx/model_fp16"),
        (["a.onnx", "b.onnx"], None, "holds several graphs .a.onnx, b.onnx.; name one as OWNER"),
        (["model.safetensors"], None, "no .onnx; this makes one: birefnet export a/b$"),
        (["sub/x.onnx"], None, "at its top, but sub/x.onnx; give the URL"),
        (["README.md"], None, "holds no .onnx; it holds README.md"),
        ([], None, "holds no .onnx; it holds nothing"),
    ],
)
def test_what_can_not_be_told_is_one_line(names, precision, says):
    with pytest.raises(FetchError, match=says):
        choose_graph(names, precision, "a/b@main")


@pytest.mark.parametrize(
    ("graph", "names", "expected"),
    [
        ("onnx/model.onnx", ["preprocessor_config.json"], "preprocessor_config.json"),
        ("x/onnx/model.onnx", ["x/preprocessor_config.json"], "x/preprocessor_config.json"),
        ("model.onnx", ["preprocessor_config.json"], "preprocessor_config.json"),
        ("sub/model.onnx", ["preprocessor_config.json"], None),
        ("onnx/model.onnx", [], None),
    ],
)
def test_the_preprocessor_file_lies_beside_or_above_onnx(graph, names, expected):
    assert preprocessor_of(names, graph) == expected
