"""What is in the wheel, and that it runs from there."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_the_five_packages_with_their_data(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())

    for package in ("models", "runtime", "apps", "export", "benchmarks"):
        assert f"birefnet_{package}/__init__.py" in names
        assert f"birefnet_{package}/py.typed" in names
    assert "birefnet_models/zoo.json" in names
    assert "birefnet_models/embedded/nano.onnx" in names
    for file in ("page.css", "page.html.j2"):
        assert f"birefnet_benchmarks/report/{file}" in names
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "birefnet_apps",
        "birefnet_benchmarks",
        "birefnet_export",
        "birefnet_models",
        "birefnet_runtime",
    }
    assert wheel.stat().st_size < 10_000_000


@pytest.mark.slow
def test_a_cutout_from_the_unpacked_wheel(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    program = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import birefnet_runtime
assert birefnet_runtime.__file__.startswith(sys.path[0])
alpha = birefnet_runtime.Segmenter()(sys.argv[1])
print(alpha.shape)
"""

    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "site", ROOT / "examples/photos/china.jpg"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.strip() == "(427, 640)", done.stderr
