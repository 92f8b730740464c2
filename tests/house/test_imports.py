"""Who may import whom: the table of CONTRIBUTING.md, held by walking the source."""

import ast
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    name: ROOT / name / f"birefnet_{name}" for name in ("models", "runtime", "export", "benchmarks")
}
OURS = {f"birefnet_{name}" for name in PACKAGES}
STANDARD = set(sys.stdlib_module_names)

# Beside the standard library and itself, a package imports these and nothing else.
ALLOWED = {
    "models": set(),
    # The plugin of OpenVINO is one more wheel of ONNX Runtime, imported for its library's path.
    "runtime": {
        "birefnet_models",
        "click",
        "cv2",
        "numpy",
        "onnxruntime",
        "onnxruntime_ep_openvino",
        "PIL",
        "pillow_heif",  # extras, each asked for in one place
        "pymatting",
        "rich",
    },
    "export": {
        "birefnet_models",
        "birefnet_runtime",
        "click",
        "cv2",  # already the runtime's: distances to a mask's edge, exact and linear in pixels
        "huggingface_hub",  # the hub's own client: its cache, token and offline mode are the user's
        "numpy",
        "onnx",
        "onnxruntime",
        "onnxsim",
        "PIL",
        "rich",
        "safetensors",
        "torch",
        "transformers",  # somebody's remote code, loaded on consent to compare an export with it
    },
    "benchmarks": {
        "birefnet_models",
        "birefnet_runtime",
        "birefnet_export",
        "click",
        "cv2",
        "jinja2",
        "matplotlib",
        "msgspec",
        "numpy",
        "onnx",
        "onnxruntime",
        "PIL",
        "psutil",
        "py_sod_metrics",
        "pynvml",
        "rich",
        "torch",
    },
}
# Inside a package, these may appear in the named files only: the runtime where graphs are run, to
# be compared (verify, against) or watched on images (observe).
CONFINED = {
    ("runtime", "pillow_heif"): "image_io.py",
    ("runtime", "pymatting"): "foreground.py",
    ("runtime", "onnxruntime_ep_openvino"): "plugins.py",
    ("export", "cv2"): "mask_parity.py",
    ("export", "onnxruntime"): "verify.py against.py",
    ("export", "birefnet_runtime"): "verify.py against.py observe.py",
    ("export", "huggingface_hub"): "hub_client.py",
    ("export", "transformers"): "remote_code.py",
    ("benchmarks", "torch"): "torch_backend.py",
    ("benchmarks", "jinja2"): "html.py",
    ("benchmarks", "matplotlib"): "plots.py contact_sheet.py",
    ("benchmarks", "msgspec"): "record.py",
    ("benchmarks", "onnx"): "floor.py",
    ("benchmarks", "onnxruntime"): "ort_backend.py floor.py",
    ("benchmarks", "psutil"): "process.py race.py",
    ("benchmarks", "pynvml"): "meters.py",
    ("benchmarks", "py_sod_metrics"): "quality.py",
}


def imported(source: str) -> Iterator[str]:
    """Top-level names of everything imported absolutely, at any depth of the file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield ast.unparse(node.args[0]).strip("'\"").partition(".")[0]


def test_imports_inside_functions_are_seen():
    source = """
        import a.b
        from c.d import e
        from . import f
        def g():
            import h
            return importlib.import_module("i.j")
        """

    assert sorted(imported(textwrap.dedent(source))) == ["a", "c", "h", "i"]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_imports_only_what_the_table_allows(name):
    files = sorted(PACKAGES[name].rglob("*.py"))
    assert files
    for file in files:
        outside = set(imported(file.read_text())) - STANDARD - {f"birefnet_{name}"}
        assert outside <= ALLOWED[name], file
        for (package, module), homes in CONFINED.items():
            if package == name and module in outside:
                assert file.name in homes.split(), f"{module} belongs in {homes}, not in {file}"


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_is_one_and_typed(name):
    assert (PACKAGES[name] / "__init__.py").is_file()
    assert (PACKAGES[name] / "py.typed").is_file()
    assert not (ROOT / name / "__init__.py").exists()


BLOCK = textwrap.dedent(
    """
    import sys

    class Block:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {"torch", "onnx", "transformers", "matplotlib"}:
                raise ImportError(f"blocked: {name}", name=name)

    sys.meta_path.insert(0, Block())
    """
)


def run_blocked(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCK + program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_block_blocks():
    assert "blocked: onnx" in run_blocked("import onnx").stderr


def test_help_runs_without_torch_and_lists_the_commands():
    done = run_blocked("from birefnet_runtime.cli import main; main()", "--help")

    assert (done.returncode, done.stderr) == (0, "")
    for command in ("bench", "cutout", "evaluate", "export", "models"):
        assert f"\n  {command} " in done.stdout


def test_answers_are_compared_without_torch():
    """By a process that has the memory of one backend to measure and no other."""
    done = run_blocked(
        "from birefnet_export import mask_parity, parity, samples; assert parity.TOLERANCES"
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_cutout_runs_without_torch(tmp_path):
    photo = ROOT / "examples" / "photos" / "china.jpg"

    done = run_blocked(
        "from birefnet_runtime.cli import main; main()",
        *("cutout", photo, "--output", tmp_path / "cut.png"),
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cut.png").stat().st_size > 10_000


def test_cutout_of_a_bad_size_does_not_meet_torch_either(tmp_path):
    photo = ROOT / "examples" / "photos" / "china.jpg"

    done = run_blocked(
        "from birefnet_runtime.cli import main; main()",
        *("cutout", photo, "--output", tmp_path / "cut.png", "--size", 33),
    )

    assert done.returncode == 1
    assert "multiples of 32" in done.stderr
