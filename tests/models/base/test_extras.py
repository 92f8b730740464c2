"""What installs an extra is said for the place that this distribution was installed from."""

import json
import pickle
import sys
import types
from importlib import metadata

import pytest
from birefnet_models.base.errors import MissingExtraError
from birefnet_models.base.extras import install_command, missing_extra, naming_extras
from birefnet_models.base.lazy import lazily

WHEEL = "birefnet_ort-0.4.0-py3-none-any.whl"


@pytest.fixture
def installed_from(monkeypatch, tmp_path):
    """Let the distribution be installed from what pip notes, `DIR` standing for a folder."""
    (tmp_path / "clone").mkdir()
    (tmp_path / WHEEL).touch()

    def install(origin):
        text = json.dumps(origin).replace("DIR", tmp_path.as_posix()) if origin else None

        class Distribution:
            def read_text(self, name):
                assert name == "direct_url.json"
                return text

        monkeypatch.setattr(metadata, "distribution", lambda _: Distribution())
        return str(tmp_path)

    return install


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'birefnet-ort[export]'"),
        (
            {"url": "file://DIR/clone", "dir_info": {"editable": True}},
            "pip install --editable 'DIR/clone[export]'",
        ),
        ({"url": "file://DIR/clone", "dir_info": {}}, "pip install 'DIR/clone[export]'"),
        ({"url": "file://DIR/gone", "dir_info": {}}, "pip install 'birefnet-ort[export]'"),
        (
            {"url": f"file://DIR/{WHEEL}", "archive_info": {}},
            f"pip install 'birefnet-ort[export] @ file://DIR/{WHEEL}'",
        ),
        (
            {"url": "https://git.test/b", "vcs_info": {"vcs": "git", "commit_id": "a1"}},
            "pip install 'birefnet-ort[export] @ git+https://git.test/b@a1'",
        ),
    ],
    ids=["index", "clone", "folder", "gone", "wheel", "repository"],
)
def test_the_command_names_where_the_distribution_came_from(installed_from, origin, command):
    folder = installed_from(origin)

    assert install_command("export") == command.replace("DIR", folder)


def test_in_the_clone_itself_it_is_short(installed_from, monkeypatch, tmp_path):
    installed_from({"url": "file://DIR/clone", "dir_info": {"editable": True}})
    monkeypatch.chdir(tmp_path / "clone")

    assert install_command("cpu") == "pip install --editable '.[cpu]'"


def test_a_missing_module_is_an_import_error_that_travels():
    error = pickle.loads(pickle.dumps(missing_extra("onnx.helper")))

    assert isinstance(error, ImportError)
    assert error.name == "onnx.helper"
    assert install_command("export") in str(error)
    assert missing_extra("json") is None


def test_a_face_names_the_extra_and_lists_its_names(monkeypatch, tmp_path):
    (tmp_path / "needs_onnx.py").write_text("import onnx\nbuild = 1")
    (tmp_path / "needs_more.py").write_text("import no_such_module\nother = 1")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    face = types.ModuleType("face_of_a_test")
    monkeypatch.setitem(sys.modules, face.__name__, face)
    face.__getattr__ = lazily(face.__name__, {"needs_onnx": "build", "needs_more": "other"})

    assert {"build", "other", "__name__"} <= {*dir(face)}
    with pytest.raises(MissingExtraError, match=r"\[export\]"):
        _ = face.build
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), naming_extras():
        _ = face.other
