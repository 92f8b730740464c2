import numpy as np
from birefnet_export.graph.builder import Graph
from birefnet_export.graph.kernels import Kernel
from birefnet_export.graph.layers import linear
from birefnet_export.graph.lowering import native
from birefnet_export.network import nn
from birefnet_runtime.session.open import open_session
from studies.graphs import remainder


def evaluated(build, tmp_path, x: np.ndarray) -> np.ndarray:
    """A piece of a graph in ONNX Runtime."""
    g = Graph(23)
    names = ["batch", "channels", "height", "width"][: x.ndim]
    value = g.input("x", [*names[: x.ndim]] if x.ndim != 4 else ["batch", x.shape[1], "h", "w"])
    g.output("y", [f"y{axis}" for axis in range(x.ndim)], build(g, value))
    file = tmp_path / f"{len(list(tmp_path.iterdir()))}.onnx"
    file.write_bytes(g.model().SerializeToString())
    (found,) = open_session(file).run(None, {"x": x})
    return np.asarray(found)


def test_taps_in_two_parts_are_the_taps(tmp_path):
    drawn = np.random.default_rng(0).standard_normal
    x = drawn((1, 4, 9, 11), np.float32)
    predict = Kernel(drawn((3 * 49, 4, 7, 7)) / 7, drawn(3 * 49))
    kernel = Kernel(drawn((5, 4, 7, 7)) / 7, drawn(5))

    whole = evaluated(lambda g, v: native.deform_conv(g, v, predict, kernel), tmp_path, x)
    parts = evaluated(lambda g, v: remainder.in_two_parts(g, v, predict, kernel), tmp_path, x)

    np.testing.assert_allclose(parts, whole, atol=1e-4)


def test_gemm_is_the_linear_layer(tmp_path):
    drawn = np.random.default_rng(0).standard_normal
    layer = nn.Linear(6, 8).bind({"weight": drawn((8, 6)), "bias": drawn(8)}.__getitem__)
    x = drawn((2, 5, 6), np.float32)

    plain = evaluated(lambda g, v: linear(g, v, layer), tmp_path, x)
    by_gemm = evaluated(lambda g, v: remainder.biases_in_gemm(g, v, layer), tmp_path, x)

    np.testing.assert_allclose(by_gemm, plain, atol=1e-5)


def test_the_table_has_what_takes_long_and_what_was_tried():
    row = {
        "threads": 2,
        "times_s": [4.0, 4.0],
        "multiply_adds": 320e9,
        "matmul_flops_per_s": [200e9],
        "peak_rss_bytes": 800_000_000,
    }
    variant = {
        "as_exported_ms": {"MatMul": 895.0, "Attention": 100.0, "Squeeze": 5.0},
        "operators_ms": {"MatMul": 950.0, "Attention": 150.0},
        "peak_rss_bytes": 1_000_000_000,
    }
    int8 = variant | {"operators_ms": {"DeformConv": 300.0, "MatMul": 75.0, "Attention": 25.0}}
    table = remainder.markdown_table(
        {
            "environment": {"processor": "P", "cores": 2, "packages": {"onnxruntime": "1.0"}},
            "instructions": ["AVX2"],
            "lite": row,
            "general": row | {"times_s": [8.0]},
            "variants": {"another way": variant, remainder.INT8: int8},
            "deform_conv_ms_by_maps": {"1": 40.0, "256": 100.0},
        }
    )

    assert "| MatMul | 895 ms (89.5%) | 75 ms (18.8%) |" in table
    assert "| DeformConv |  | 300 ms (75.0%) |" in table
    assert "Squeeze" not in table
    assert "| another way | 1.100 | 1.50 | 1 GB |" in table
    assert "| int8, calibrated | 0.400 | 0.25 | 1 GB |" in table
    assert "lite 0.80, general 0.40" in table
