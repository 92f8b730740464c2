"""Nothing is left to be folded or removed: onnxsim gives back the graph that the builder made."""

from collections.abc import Iterable
from dataclasses import replace

import onnx
import pytest
from birefnet_export.graph.lowering import LOWERINGS
from birefnet_export.options import OPSETS, graph_form
from birefnet_export.pipeline import build_model

from ..conftest import SETTINGS, TINY, TINY_DINO, TINY_PVT, network

onnxsim = pytest.importorskip("onnxsim")  # of the dev extra

NETWORKS = {
    "swin": TINY,
    "dino": TINY_DINO,
    "pvt": TINY_PVT,
    **{name: replace(TINY, **changes) for name, changes in SETTINGS.items()},
}
OFFERED = [
    (lowering.name, opset)
    for lowering in LOWERINGS.values()
    for opset in OPSETS
    if opset >= lowering.first_opset
]


def same(messages: Iterable, others: Iterable) -> bool:
    """Whether two lists of protobuf messages hold the same, in any order."""
    contents = (
        {m.SerializeToString(deterministic=True) for m in some} for some in (messages, others)
    )
    return len(set(map(frozenset, contents))) == 1


def unchanged(model: onnx.ModelProto) -> None:
    found, alike = onnxsim.simplify(model, perform_optimization=False)
    assert alike
    for part in ("node", "initializer", "input", "output"):
        assert same(getattr(found.graph, part), getattr(model.graph, part)), part
    assert same(found.graph.value_info, model.graph.value_info)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("lowering", ["rows", pytest.param("gridsample", marks=pytest.mark.slow)])
def test_every_network_is_as_simple_as_it_gets(name, lowering):
    unchanged(build_model(network(NETWORKS[name]), graph_form(lowering, None, "fp32")))


@pytest.mark.slow
@pytest.mark.parametrize(("lowering", "opset"), OFFERED)
@pytest.mark.parametrize("name", ["swin", "dino", "pvt"])
def test_every_form_is(name, lowering, opset):
    unchanged(build_model(network(NETWORKS[name]), graph_form(lowering, opset, "fp32")))
