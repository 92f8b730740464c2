"""Which input and output of a graph count, and how often it runs."""

from types import SimpleNamespace

import numpy as np
import pytest
from birefnet_runtime.errors import ModelError
from birefnet_runtime.model.signature import read_signature

FREE = ["batch", 3, "height", "width"]
MASK = ["batch", 1, "height", "width"]
FLOAT = "tensor(float)"


class Graph:
    """Ends of a graph, (name, type, shape) each; each output is the first channel plus its place
    among the outputs."""

    def __init__(self, inputs, outputs):
        self.inputs = [SimpleNamespace(name=n, type=t, shape=s) for n, t, s in inputs]
        self.outputs = [SimpleNamespace(name=n, type=t, shape=s) for n, t, s in outputs]
        self.batches = []

    def get_inputs(self):
        return self.inputs

    def get_outputs(self):
        return self.outputs

    def run(self, names, feed):
        (tensor,) = feed.values()
        self.batches.append(len(tensor))
        places = [[end.name for end in self.outputs].index(name) for name in names]
        return [tensor[:, :1] + np.float32(place) for place in places]


def test_the_first_output_of_the_inputs_size_counts():
    quarter = ["batch", 1, "height_4", "width_4"]
    outputs = [("small", FLOAT, quarter), ("mask", FLOAT, MASK), ("other", FLOAT, MASK)]
    graph = Graph([("image", FLOAT, FREE)], outputs)

    signature = read_signature(graph)

    assert (signature.input, signature.output) == ("image", "mask")
    tensor = np.ones((2, 3, 4, 4), np.float32)
    np.testing.assert_array_equal(signature.run(graph, tensor), np.full((2, 1, 4, 4), 2))


def test_a_fixed_batch_is_run_as_often_as_it_takes():
    graph = Graph([("image", FLOAT, [2, *FREE[1:]])], [("mask", FLOAT, [2, *MASK[1:]])])
    signature = read_signature(graph)
    tensor = np.arange(6 * 3 * 4, dtype=np.float32).reshape(6, 3, 2, 2)

    mask = signature.run(graph, tensor)

    assert graph.batches == [2, 2, 2]
    np.testing.assert_array_equal(mask, tensor[:, :1])
    with pytest.raises(ModelError, match="batches of 2, not"):
        signature.run(graph, tensor[:3])


@pytest.mark.parametrize(
    "shape",
    [
        [0, 3, 64, 64],
        ["batch", 3, 0, 0],
        ["batch", 3, 2**31, 2**31],
        ["batch", 3, 40_000, 40_000],
    ],
)
def test_a_graph_that_nothing_fits_into_is_refused(shape):
    graph = Graph([("image", FLOAT, shape)], [("mask", FLOAT, [shape[0], 1, *shape[2:]])])

    with pytest.raises(ModelError, match="sides 1 to 16,384 pixels"):
        read_signature(graph)


def test_half_fixed_sizes_are_refused():
    graph = Graph([("x", FLOAT, ["b", 3, 64, "w"])], [("y", FLOAT, ["b", 1, 64, "w"])])

    with pytest.raises(ModelError, match="half fixed: 64xw"):
        read_signature(graph)
