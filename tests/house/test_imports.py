"""Who may import whom: the table of CONTRIBUTING.md, held by walking the source."""

import ast
import importlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    name: ROOT / folder / f"birefnet_{name}"
    for name, folder in (
        ("models", "models"),
        ("runtime", "runtime"),
        ("apps", "runtime"),
        ("export", "export"),
        ("benchmarks", "benchmarks"),
    )
}
OURS = {f"birefnet_{name}" for name in PACKAGES}
STANDARD = set(sys.stdlib_module_names)

# Beside the standard library and itself, a package imports these and nothing else.
ALLOWED = {
    "models": {
        "home_of[name]",  # a face's own modules, when a name is first used
        "huggingface_hub",  # the hub's own client: its cache, token and offline mode are the user's
    },
    "runtime": {
        "birefnet_models",
        "cv2",
        "numpy",
        "onnxruntime",
        "module",  # `import_module(module)`: a wheel that brings ONNX Runtime a provider
        "PIL",
        "pillow_heif",  # extras, each asked for in one place
        "pymatting",
        "pynvml",
        "tifffile",
    },
    "apps": {
        "birefnet_models",
        "birefnet_runtime",
        "click",
        "cv2",
        "fsspec",  # extras, each asked for in one place
        "numpy",
        "PIL",
        "prometheus_client",
        "pyarrow",
        "python_multipart",
        "ray",
        "rich",
        "starlette",
        "uvicorn",
    },
    "export": {
        "birefnet_apps",  # of the command line: its bars and lines
        "birefnet_models",
        "birefnet_runtime",
        "click",
        "cv2",  # already the runtime's: distances to a mask's edge, exact and linear in pixels
        "huggingface_hub",
        "numpy",
        "onnx",
        "onnxruntime",
        "PIL",
        "rich",
        "safetensors",
        "threadpoolctl",
    },
    "benchmarks": {
        "birefnet_apps",
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
        "transformers",  # remote code, loaded on consent to compare an export with it
    },
}
# Inside a package, these may appear in the named files or folders only: the runtime where graphs
# are run, to be compared or watched on images.
CONFINED = {
    ("runtime", "pillow_heif"): "images/read.py",
    ("runtime", "pymatting"): "cutout/foreground.py",
    ("runtime", "tifffile"): "images/write.py",
    ("runtime", "pynvml"): "machine.py",
    ("runtime", "module"): "session/plugins.py",
    ("apps", "fsspec"): "storage/remote.py",
    ("apps", "ray"): "ray/cluster.py ray/actor.py ray/dataset.py ray/journal.py",
    ("apps", "pyarrow"): "ray/tables.py ray/actor.py files/records.py",
    ("apps", "prometheus_client"): "serve/metrics.py",
    ("apps", "python_multipart"): "serve/form.py",
    ("apps", "starlette"): "serve/access.py serve/app.py",
    ("apps", "uvicorn"): "serve/server.py serve/connection.py",
    ("export", "birefnet_apps"): "cli/fetch_options.py cli/inspect.py inspection.py",
    ("export", "cv2"): "verify/masks.py",
    ("export", "onnxruntime"): (
        "verify/export_check.py verify/end_to_end_check.py verify/compare_models.py"
    ),
    ("export", "birefnet_runtime"): (
        # How much memory an export took is read as everywhere, downloads have one bar, models are
        # found in one way, and who writes metadata has it of who reads it.
        "answer.py metadata.py pipeline.py room.py verify/export_check.py "
        "verify/end_to_end_check.py verify/compare_models.py verify/layer_diff.py "
        "precision/calibration.py precision/feedback.py cli/fetch_options.py cli/export.py "
        "cli/inspect.py inspection.py"
    ),
    ("models", "huggingface_hub"): "download.py hub.py",
    ("export", "huggingface_hub"): "publish/push.py",
    ("export", "threadpoolctl"): "reference/birefnet.py",
    ("benchmarks", "torch"): "bench/backends/pytorch.py pytorch/",
    ("benchmarks", "transformers"): "pytorch/remote_code.py",
    ("benchmarks", "jinja2"): "report/html.py",
    ("benchmarks", "matplotlib"): "report/plots.py evaluation/contact_sheet.py",
    ("benchmarks", "msgspec"): "bench/results.py",
    ("benchmarks", "onnx"): "bench/measure/roofline.py",
    ("benchmarks", "onnxruntime"): "bench/backends/onnxruntime.py bench/measure/roofline.py",
    ("benchmarks", "psutil"): "bench/measure/memory.py bench/environment.py bench/interleave.py",
    ("benchmarks", "pynvml"): "bench/measure/energy_and_gpu.py",
    ("benchmarks", "py_sod_metrics"): "evaluation/quality.py",
}
# The house, from the top: a row imports only rows under it. What stands beside each other in a row
# knows nothing of each other.
ROWS = {
    "models": [
        "inventory",
        "fetch",
        "hub",
        "download",
        "reference",
        "pins",
        "cache",
        "zoo",
        "base",
    ],
    "runtime": [
        "segmenter",
        "trial",
        "session",
        "cutout",
        "model",
        "images",
        "pipeline",
        "machine stderr",
        "errors",
    ],
    "apps": [
        "cli",
        "ray serve",
        "files video",
        "doctor triton storage",
    ],
    "export": [
        "cli build",
        "export inspection publish",
        "pipeline",
        "metadata answer",
        "room",
        "options",
        "precision",
        "verify",
        "reference",
        "graph checkpoint",
        "network",
        "errors",
    ],
    "benchmarks": ["cli", "evaluation report", "bench", "pytorch", "errors"],
}


# Old places of public names, which warn and hand on; they go with version 0.5.
OLD_PLACES = {"runtime": {"ray", "cli", "cli.main"}}


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
                here = file.relative_to(PACKAGES[name]).as_posix()
                at_home = any(
                    here == h or (h[-1] == "/" and here.startswith(h)) for h in homes.split()
                )
                assert at_home, f"{module} belongs in {homes}, not in {here}"


def module_name(file: Path, package: Path) -> str:
    """`session.open` of `birefnet_runtime/session/open.py`; a package's face is the package."""
    return ".".join(file.relative_to(package).with_suffix("").parts).removesuffix(".__init__")


def arrows(name: str) -> dict[str, set[str]]:
    """For each module of a package the modules of the same package that it imports, anywhere in it.

    What is imported through a wing's face counts as an import of the face.
    """
    package = PACKAGES[name]
    files = {module_name(file, package): file for file in package.rglob("*.py")}
    found: dict[str, set[str]] = {}
    for module, file in files.items():
        if module == "__init__" or module in OLD_PLACES.get(name, ()):
            continue  # the package's face hands everything on
        here = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
        found[module] = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.ImportFrom):
                continue
            target = node.module or ""
            if node.level:
                above = here[: len(here) - (node.level - 1)]
                target = ".".join([*above, *target.split(".")]).strip(".")
            elif target.startswith(f"birefnet_{name}."):
                target = target.partition(".")[2]
            else:
                continue
            for alias in node.names:
                inner = f"{target}.{alias.name}".strip(".")
                found[module].add(inner if inner in files else target)
    return {module: targets - {module} for module, targets in found.items()}


def test_arrows_are_seen_through_relative_imports_and_modules_as_names():
    found = arrows("runtime")

    assert "errors" in found["session.open"]
    assert "images.metadata" in found["images.read"]
    assert "session.open" in found["segmenter"]


@pytest.mark.parametrize("name", PACKAGES)
def test_imports_run_downwards(name):
    floor = {
        part: len(ROWS[name]) - place
        for place, row in enumerate(ROWS[name])
        for part in row.split()
    }
    found = arrows(name)
    assert {module.partition(".")[0] for module in found} == set(floor), "rooms without a row"
    for module, targets in found.items():
        wing = module.partition(".")[0]
        assert wing in floor, f"{wing} stands in no row of the drawing"
        for target in targets:
            below = target.partition(".")[0]
            assert below == wing or floor[below] < floor[wing], f"{module} imports {target}"


@pytest.mark.parametrize("name", PACKAGES)
def test_no_files_import_each_other_in_a_circle(name):
    found = arrows(name)
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module not in done:
            for target in sorted(found.get(module, ())):
                visit(target, (*trail, module))
            done.add(module)

    for module in found:
        visit(module, ())
    assert done >= set(found)


@pytest.mark.parametrize(
    "room", [*PACKAGES.values(), ROOT / "benchmarks" / "studies"], ids=lambda room: room.name
)
def test_no_folder_is_crowded(room):
    for folder in {file.parent for file in room.rglob("*.py")}:
        modules = [file for file in folder.glob("*.py") if file.name != "__init__.py"]
        assert len(modules) <= 13, f"{folder} holds {len(modules)} modules"


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_is_one_and_typed(name):
    assert (PACKAGES[name] / "__init__.py").is_file()
    assert (PACKAGES[name] / "py.typed").is_file()
    assert not (PACKAGES[name].parent / "__init__.py").exists()


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


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("birefnet_runtime.ray", "birefnet_apps.ray", "Cutout"),
        ("birefnet_runtime.cli.main", "birefnet_apps.cli.main", "main"),
    ],
)
def test_old_places_of_public_names_warn_and_hand_on(old, new, name):
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=new):
        module = importlib.import_module(old)

    assert getattr(module, name) is getattr(importlib.import_module(new), name)


def test_the_block_blocks():
    assert "blocked: onnx" in run_blocked("import onnx").stderr


def test_help_runs_without_torch_and_lists_the_commands():
    done = run_blocked("from birefnet_apps.cli.main import main; main()", "--help")

    assert (done.returncode, done.stderr) == (0, "")
    for command in ("bench", "cutout", "evaluate", "export", "models"):
        assert f"\n  {command} " in done.stdout


def test_answers_are_compared_without_torch():
    """By a process that has the memory of one backend to measure and no other."""
    done = run_blocked(
        "from birefnet_export.verify import logits, masks\nassert logits.LOGITS_TOLERANCES"
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_cutout_runs_without_torch(tmp_path):
    photo = ROOT / "examples" / "photos" / "china.jpg"

    done = run_blocked(
        "from birefnet_apps.cli.main import main; main()",
        *("cutout", photo, "--output", tmp_path / "cut.png"),
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cut.png").stat().st_size > 10_000


def test_cutout_of_a_bad_size_does_not_meet_torch_either(tmp_path):
    photo = ROOT / "examples" / "photos" / "china.jpg"

    done = run_blocked(
        "from birefnet_apps.cli.main import main; main()",
        *("cutout", photo, "--output", tmp_path / "cut.png", "--size", 33),
    )

    assert done.returncode == 1
    assert "multiples of 32" in done.stderr


def test_a_face_and_the_list_of_commands_load_nothing_heavy():
    heavy = "{'numpy', 'cv2', 'PIL', 'onnxruntime', 'rich', 'torch'} & set(sys.modules)"
    done = run_blocked(
        "import sys, birefnet_runtime, birefnet_apps.cli.main as cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        f"assert not {heavy}, {heavy}"
    )

    assert (done.returncode, done.stderr) == (0, "")
