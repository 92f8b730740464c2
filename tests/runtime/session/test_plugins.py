"""Wheels that bring an execution provider: found by their names, registered once."""

import sys
from types import SimpleNamespace

import onnxruntime
import pytest
from birefnet_runtime import ProviderError
from birefnet_runtime.session import plugins
from birefnet_runtime.session.plugins import plugin_devices, plugin_of
from birefnet_runtime.session.providers import execution_provider, installed_others

EP = "MadeExecutionProvider"


def device(kind, name=EP):
    hardware = SimpleNamespace(type=SimpleNamespace(name=kind), vendor="Maker")
    return SimpleNamespace(ep_name=name, device=hardware)


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """Install a wheel whose module has this text."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "_registered", set())

    def install(name, text):
        (tmp_path / f"onnxruntime_ep_{name}.py").write_text(text)
        facts = tmp_path / f"onnxruntime_ep_{name}-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Name: onnxruntime-ep-{name}\nVersion: 1.0\n")

    return install


GOOD = f"def get_library_path(): return '/lib.so'\ndef get_ep_names(): return ['{EP}']\n"


def test_a_wheel_is_found_by_its_name_and_registered_once(wheel, monkeypatch):
    registered = []
    monkeypatch.setattr(
        onnxruntime,
        "register_execution_provider_library",
        lambda *which: registered.append(which),
    )
    found = [device("CPU"), device("NPU"), device("GPU", "Other"), device("GPU")]
    monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: found)
    assert plugin_of("made1") is None
    wheel("made1", GOOD)

    plugin = plugin_of("made1")

    assert execution_provider("made1") == EP
    assert plugin.version == " onnxruntime-ep-made1 1.0"
    assert "made1" in installed_others()
    assert plugin_devices(plugin, EP) == [found[1]], "an NPU before a GPU before the CPU"
    assert plugin_devices(plugin, EP, "gpu") == [found[3]]
    assert registered == [(EP, "/lib.so")]


def test_a_wheel_without_a_device_says_what_is_there(wheel, monkeypatch):
    monkeypatch.setattr(onnxruntime, "register_execution_provider_library", lambda *_: None)
    monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: [device("CPU", "Other")])
    wheel("made2", GOOD)

    with pytest.raises(ProviderError, match=r"onnxruntime-ep-made2 lists no device .* Maker CPU$"):
        plugin_devices(plugin_of("made2"), EP)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import nothing_of_this_name", "made is damaged: No module named"),
        ("", "made is damaged: module .* has no attribute 'get_library_path'"),
        ("def get_library_path(): raise RuntimeError('no file')", "made is damaged: no file"),
        ("def get_library_path(): return '/no.so'", "made can't be loaded: "),
    ],
)
def test_a_damaged_wheel_is_one_line(wheel, monkeypatch, text, says):
    wheel("made", text)
    monkeypatch.delitem(sys.modules, "onnxruntime_ep_made", raising=False)

    with pytest.raises(ProviderError, match=says) as raised:
        plugin_devices(plugin_of("made"), EP)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["a.b", "a-b", "", "../x"])
def test_what_is_no_name_is_no_wheel(name):
    assert plugin_of(name) is None


def test_a_wheel_may_be_called_otherwise_than_its_module(wheel, tmp_path):
    wheel("birefnet", GOOD)
    facts = (tmp_path / "onnxruntime_ep_birefnet-1.0.dist-info").rename(
        tmp_path / "birefnet_ort_kernels-2.0.dist-info"
    )
    (facts / "METADATA").write_text("Name: birefnet-ort-kernels\nVersion: 2.0\n")

    plugin = plugin_of("birefnet")

    assert (plugin.wheel, plugin.version) == ("birefnet-ort-kernels", " birefnet-ort-kernels 2.0")
    assert "birefnet" in plugins.plugin_names()
