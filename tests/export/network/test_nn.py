"""Layers as their tensors: what is declared, what is read, and when."""

import numpy as np
import pytest
from birefnet_export.network import nn


class Pair(nn.Layer):
    """Two layers, a tensor of its own, and a layer under a name that is put together."""

    scale = nn.Parameter()

    def __init__(self):
        self.first = nn.Linear(3, 5)
        self.many = nn.Sequential(nn.Conv2d(2, 4, 3, groups=2, bias=False) for _ in range(2))
        self.scale = (5,)
        self.add("norm7", nn.LayerNorm(5))


SHAPES = {
    "scale": (5,),
    "first.weight": (5, 3),
    "first.bias": (5,),
    "many.0.weight": (4, 1, 3, 3),
    "many.1.weight": (4, 1, 3, 3),
    "norm7.weight": (5,),
    "norm7.bias": (5,),
}


def test_shapes_are_those_of_the_tree():
    assert Pair().shapes() == SHAPES
    assert Pair().shapes("a.") == {f"a.{name}": shape for name, shape in SHAPES.items()}


def test_two_layers_of_a_kind_declare_apart():
    assert nn.Linear(1, 2).shapes() == {"weight": (2, 1), "bias": (2,)}
    assert nn.Linear(3, 4, bias=False).shapes() == {"weight": (4, 3)}


def test_values_are_read_each_time_they_are_asked_for():
    asked = []

    def read(name):
        asked.append(name)
        return np.full(SHAPES[name.removeprefix("net.")], len(asked))

    pair = Pair().bind(read, "net.")

    assert asked == []
    assert pair.many[1].weight.shape == (4, 1, 3, 3)
    assert pair.scale[0] == 2
    assert pair.scale[0] == 3
    assert asked == ["net.many.1.weight", "net.scale", "net.scale"]


def test_a_layer_is_looked_up_by_a_name_that_is_put_together():
    pair = Pair()

    assert pair.child("norm7") is pair.norm7
    with pytest.raises(AttributeError, match="Pair has no layer 'norm8'"):
        pair.child("norm8")


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.Linear(1, 2, bias=False).bind(dict.__getitem__), "this Linear has no bias"),
        (nn.Linear(1, 2), "the bias of this Linear is bound to no values"),
    ],
)
def test_a_tensor_that_is_not_there_says_why(layer, said):
    with pytest.raises(AttributeError, match=said):
        layer.bias  # noqa: B018


def test_layers_by_number_can_be_walked_counted_and_added_to():
    layers = nn.Sequential([nn.ReLU()])
    layers.append(nn.LayerNorm(3))

    assert len(layers) == 2
    assert [type(layer) for layer in layers] == [nn.ReLU, nn.LayerNorm]
    assert layers.shapes() == {"1.weight": (3,), "1.bias": (3,)}
