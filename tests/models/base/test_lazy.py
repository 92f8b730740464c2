import sys

import pytest
from birefnet_models.base.lazy import lazily


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose `Thing` stands in a module that says when it is imported."""
    folder = tmp_path / "lazy_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "things.py").write_text("Thing, other = object(), 2")
    monkeypatch.syspath_prepend(tmp_path)
    import lazy_package

    yield lazy_package
    for name in [name for name in sys.modules if name.startswith("lazy_package")]:
        del sys.modules[name]


def test_a_name_is_imported_when_it_is_first_used_and_kept(package):
    get = lazily("lazy_package", {".things": "Thing other"})
    assert "lazy_package.things" not in sys.modules

    thing = get("Thing")

    assert thing is sys.modules["lazy_package.things"].Thing
    assert package.Thing is thing
    assert not hasattr(package, "other")


def test_another_name_is_an_attribute_error_that_says_so(package):
    with pytest.raises(AttributeError, match=r"'lazy_package' .* 'Thin'"):
        lazily("lazy_package", {".things": "Thing"})("Thin")
