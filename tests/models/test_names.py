import pytest
from birefnet_models.names import REPOSITORY


@pytest.mark.parametrize("name", ["ZhengPeng7/BiRefNet_lite-2K", "a/b", "_x/y.z"])
def test_a_repository_is_an_owner_and_a_name(name):
    assert REPOSITORY.fullmatch(name)


@pytest.mark.parametrize("name", ["lite", "a/b/c", "./a", "a/.b", "/a", "a/", "a b/c"])
def test_a_path_is_no_repository(name):
    assert not REPOSITORY.fullmatch(name)
