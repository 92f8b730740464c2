import pytest
from birefnet_models.base.names import REPOSITORY, choose_weights, stays_inside


@pytest.mark.parametrize("name", ["ZhengPeng7/BiRefNet_lite-2K", "a/b", "_x/y.z"])
def test_a_repository_is_an_owner_and_a_name(name):
    assert REPOSITORY.fullmatch(name)


@pytest.mark.parametrize("name", ["lite", "a/b/c", "./a", "a/.b", "/a", "a/", "a b/c"])
def test_a_path_is_no_repository(name):
    assert not REPOSITORY.fullmatch(name)


def test_the_weights_are_chosen_among_other_files():
    assert choose_weights(["a.pth", "model.safetensors", "x.safetensors"]) == ["model.safetensors"]
    assert choose_weights(["b.pth", "a.pt", "README.md"]) == ["b.pth", "a.pt"]
    assert choose_weights(["README.md"]) == []


@pytest.mark.parametrize("name", ["model.safetensors", "onnx/model.onnx", "a b/é.pth", "..a/b.."])
def test_a_path_inside_a_folder(name):
    assert stays_inside(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../a", "a/../b", "/a", "a//b", "a/", "a\\b", "C:a", "a\nb", "a\x7f", 3, None],
)
def test_a_path_that_may_lead_out_of_its_folder(name):
    assert not stays_inside(name)
