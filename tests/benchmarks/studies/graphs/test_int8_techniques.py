"""int8's techniques: each changes what a graph gives, and not by much; and the table of them."""

import numpy as np
import onnx
import pytest
from birefnet_export.graph.weights import WeightsInGraph
from birefnet_export.precision.calibration import observe
from birefnet_export.precision.sensitivity import _Search
from birefnet_models import embedded_path, find
from studies.graphs import int8_techniques, int8_tried

SIDE = 64


@pytest.fixture(scope="module")
def photographs():
    rng = np.random.default_rng(0)
    return [rng.standard_normal((1, 3, SIDE, SIDE)).astype(np.float32)]


@pytest.fixture(scope="module")
def search(photographs):
    model = onnx.load(embedded_path(find("nano")))
    with int8_techniques.settings(True, 200, 1.1):
        found = _Search(model, WeightsInGraph(), photographs)
        found.tried(())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", int8_tried.TRIED)
def test_each_technique_gives_a_graph_whose_logits_are_near(search, photographs, name):
    with int8_techniques.settings(True, 200, 1.1):
        model = int8_tried.TRIED[name](search)

    exact, found, plain = (
        observe(each, photographs).logits for each in (search.model, model, search.tried(()).model)
    )
    assert np.abs(np.subtract(found, plain)).max() > 0
    # Generated noise: "all ranges of least squared error" is the worst, on photographs as well.
    assert np.abs(np.subtract(found, exact)).mean() < np.std(exact)


def test_the_table():
    row = {"errors": [0.001, 0.003], "ious": [0.99, 0.97]}

    text = int8_techniques.markdown_table(
        {
            "environment": {"processor": "X", "packages": {"onnxruntime": "1.32.0"}},
            "size": "192x192",
            "known": 12,
            "judged": {"sums joined": row},
            "timed": {"fp32": [4.0, 4.0], "before": [3.0, 3.2], "now": [3.0, 2.8]},
        }
    )

    assert "| sums joined | 0.00200 (0.00300) | 0.9800 (0.9700) |" in text
    assert "on 2 photographs that calibration on 12 others didn't see" in text
    assert "0.78 of fp32's before, 0.72 now" in text
