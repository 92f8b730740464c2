from types import SimpleNamespace

from birefnet_runtime.session.ort_session import NodePlacement, read_placement

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class Part:
    """A part of a graph, as ONNX Runtime assigned it."""

    def __init__(self, ep_name, *operators):
        self.ep_name = ep_name
        self.operators = operators

    def get_nodes(self):
        return [SimpleNamespace(op_type=name) for name in self.operators]


def test_nodes_are_counted_and_described():
    parts = [
        Part(CUDA, "Conv", "Conv"),
        Part(CPU, "Shape"),
        Part(CUDA, "DeformConv"),
    ]

    placement = read_placement(SimpleNamespace(get_provider_graph_assignment_info=lambda: parts))

    assert placement == NodePlacement({CUDA: {"Conv": 2, "DeformConv": 1}, CPU: {"Shape": 1}})
    assert placement.nodes(CUDA) == 3
    assert placement.nodes("TensorrtExecutionProvider") == 0
    assert placement.heavy_on(CUDA) == {"DeformConv": 1, "Conv": 2}
    assert placement.heavy_on(CPU) == {}
    assert placement.describe() == "cuda 3 nodes (2 Conv, 1 DeformConv), cpu 1 node (1 Shape)"


def test_an_onnx_runtime_that_cannot_tell():
    assert read_placement(object()) is None
