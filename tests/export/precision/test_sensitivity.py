"""The search for the layers that have to stay in float32."""

import numpy as np
import onnx
import pytest
from birefnet_export.errors import PrecisionError
from birefnet_export.graph.builder import Graph
from birefnet_export.graph.kernels import Kernel
from birefnet_export.graph.layers import conv, relu
from birefnet_export.graph.signature import INPUT
from birefnet_export.graph.weights import WeightsInGraph
from birefnet_export.precision import sensitivity
from birefnet_export.verify.quality import Quality

COSTS = {"a": 0.02, "b": 0.0, "c": 0.03, "d": 0.001}


class Search:
    """A search over four groups, of which some are sensitive: IoU falls by what each costs."""

    def __init__(self, *_: object) -> None:
        self.trials: list[tuple[str, ...]] = []

    def tried(self, excluded):
        names = tuple(group.name for group in excluded)
        self.trials.append(names)
        iou = 1 - sum(cost for name, cost in COSTS.items() if name not in names)
        found = Quality(iou, iou, 1 - iou, 1 - iou, 1, (32, 32), names)
        return sensitivity.Quantized(onnx.ModelProto(), found)

    def of_all(self, verdict, _):
        return verdict

    def ranked(self):
        order = sorted(COSTS, key=lambda name: -COSTS[name])
        return [sensitivity.LayerGroup(name, frozenset([name])) for name in order]


@pytest.mark.parametrize(
    ("min_iou", "excluded"), [(0.9, ()), (0.96, ("c",)), (0.99, ("c", "a")), (1, ("c", "a", "d"))]
)
def test_only_as_many_groups_are_left_out_as_it_takes(monkeypatch, min_iou, excluded):
    monkeypatch.setattr(sensitivity, "_Search", Search)

    found = sensitivity.quantized_within(onnx.ModelProto(), WeightsInGraph(), [], min_iou)

    assert found.quality.excluded == excluded


def test_if_nothing_suffices_the_numbers_are_said(monkeypatch):
    monkeypatch.setattr(sensitivity, "_Search", Search)
    monkeypatch.setattr(Search, "ranked", lambda self: [])

    with pytest.raises(PrecisionError, match=r"IoU of 0\.9490 .*less than .*0\.99"):
        sensitivity.quantized_within(onnx.ModelProto(), WeightsInGraph(), [], 0.99)


def test_ranges_come_from_two_thirds_of_the_images_and_are_a_tenth_wider():
    """Image by image the input reaches 1, 10, 2 and 20, the last to be judged on alone."""
    ones = Kernel(np.ones((64, 3, 7, 7)), np.zeros(64))
    head = Kernel(np.ones((1, 64, 1, 1)), np.zeros(1))
    g = Graph(20)
    x = g.input(INPUT.name, list(INPUT.axes))
    g.output("y", ["batch", 1, "height", "width"], conv(g, relu(g, conv(g, x, ones)), head))
    images = []
    for peak in (1, 10, 2, 20):
        image = np.zeros((1, 3, 8, 8), np.float32)
        image[0, 0, 4, 4], image[0, 0, 0, 0] = peak, -peak
        images.append(image)

    search = sensitivity._Search(g.model(), WeightsInGraph(), images)
    low, high = search.ranges[INPUT.name]
    np.testing.assert_allclose([low, high], [[-11, 0, 0], [11, 0, 0]], rtol=1e-6)
    (rectified,) = set(search.ranges) - {INPUT.name}
    # of a peak alone in its window
    np.testing.assert_allclose(search.ranges[rectified], [[0] * 64, [11] * 64], rtol=1e-6)
    verdict = search.tried(())
    assert verdict.quality.images == 4
    assert search.of_all(verdict, 0.0).quality is verdict.quality
    np.testing.assert_allclose(search.ranges[INPUT.name].high, [22, 0, 0], rtol=1e-6)
    assert search.tried((), 2).quality.images == 2
