import os

import pytest
from birefnet_models.atomic_write import replacing


def test_a_file_is_replaced_when_all_went_well(tmp_path):
    target = tmp_path / "a.png"
    target.write_text("old")

    with replacing(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.suffix == ".png"
        assert temporary.name.startswith(".")

    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.png"]


def test_a_file_stays_when_something_failed(tmp_path):
    target = tmp_path / "a.png"
    target.write_text("old")

    def write_half() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()

    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.png"]


def test_a_name_as_long_as_the_file_system_allows(tmp_path):
    target = tmp_path / ("a" * 251 + ".png")

    with replacing(target) as temporary:
        temporary.write_text("new")

    assert target.read_text() == "new"
