"""Upstream's other configurations, told by their tensors and refused by the setting's name."""

import pytest
from birefnet_export.errors import ArchitectureError
from birefnet_export.network.architecture import Architecture

from ..conftest import key_list


def changed(*, drop: str = "", add: dict | None = None, rename: tuple[str, str] | None = None):
    shapes = {n: s for n, s in key_list("swin_v1_t").items() if not drop or not n.startswith(drop)}
    if rename:
        shapes = {name.replace(*rename): shape for name, shape in shapes.items()}
    return shapes | (add or {})


VGG = {"bb.conv1.0.weight": (64, 3, 3, 3)}
NORM = {"bb.conv1.1.running_mean": (64,)}
RESIDUAL = {"bb.conv1.4.0.conv1.weight": (64, 64, 1, 1)}


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        (changed(drop="bb.", add=VGG), "its backbone is 'vgg16', which no released weights have"),
        (changed(drop="bb.", add=VGG | NORM), "its backbone is 'vgg16bn', which"),
        (changed(drop="bb.", add=VGG | NORM | RESIDUAL), "its backbone is 'resnet50', which"),
        (changed(drop="bb.", add={"bb.cls_token": (1, 1, 9)}), "plain vision transformer"),
        (changed(drop="bb."), "it has no backbone of upstream's"),
        (changed(add={"cls_head.weight": (1, 1)}), "a classification head"),
        (changed(add={"refiner.conv.weight": (1, 1)}), "a refiner"),
    ],
)
def test_another_configuration_is_refused_by_name(shapes, says):
    with pytest.raises(ArchitectureError, match=says) as caught:
        Architecture.from_shapes(shapes)
    assert "supported are the backbones Swin v1, PVT v2 and DINOv3" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_several_differences_are_all_named():
    with pytest.raises(ArchitectureError, match=r"'vgg16', .*; it has a refiner"):
        Architecture.from_shapes(changed(drop="bb.", add=VGG | {"refiner.conv.weight": (1, 1)}))


@pytest.mark.parametrize("backbone", ["swin_v1_t", "swin_v1_s", "swin_v1_b", "swin_v1_l"])
def test_every_swin_v1_passes(backbone):
    assert Architecture.from_shapes(key_list(backbone)).backbone.name == backbone
