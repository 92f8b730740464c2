"""ONNX Runtime finds its telemetry switched off, whichever module of ours imports it first."""

import os
import pkgutil
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import birefnet_benchmarks
import birefnet_export
import birefnet_models
import birefnet_runtime
import pytest

WATCH = textwrap.dedent(
    """
    import importlib, os, sys

    class Watch:
        def find_spec(self, name, path=None, target=None):
            if name == "onnxruntime":
                print(os.environ.get("ORT_DISABLE_TELEMETRY"))
                raise SystemExit

    sys.meta_path.insert(0, Watch())
    """
)


def first_import(program: str, setting: str | None = None) -> str:
    """The variable when a fresh Python first imports onnxruntime; empty: it never does."""
    environment = {key: text for key, text in os.environ.items() if "TELEMETRY" not in key}
    if setting is not None:
        environment["ORT_DISABLE_TELEMETRY"] = setting
    done = subprocess.run(
        [sys.executable, "-c", WATCH + program], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


OPENING = "from birefnet_runtime import Segmenter; Segmenter()"


def test_it_is_off_when_a_model_is_opened():
    assert first_import(OPENING) == "1"


@pytest.mark.parametrize("setting", ["0", "1", ""])
def test_what_the_user_set_stays(setting):
    assert first_import(OPENING, setting) == setting


def importing_onnxruntime() -> list[str]:
    """Our modules that import it when they are imported."""
    modules = []
    for package in (birefnet_models, birefnet_runtime, birefnet_export, birefnet_benchmarks):
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            source = Path(info.module_finder.find_spec(info.name).origin).read_text("utf-8")
            if re.search(r"^(import|from) onnxruntime", source, flags=re.MULTILINE):
                modules.append(info.name)
    return modules


def test_it_is_off_for_every_module_that_imports_onnxruntime_itself():
    modules = importing_onnxruntime()
    assert len(modules) > 1
    for module in modules:
        assert first_import(f"importlib.import_module({module!r})") == "1", module
