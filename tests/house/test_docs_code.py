"""The Python of the documentation runs, and every error has its place in it."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
CHECKPOINT = str(ROOT / "models/nano/model.safetensors")
INSTEAD = {
    'export_onnx("lite")': f'export_onnx({CHECKPOINT!r}, "made", trained_size=(192, 192))',
    '"lite"': '"nano"',
}
"""Pages name the model that their reader will use; here there is no network."""
PROGRAMS = [
    pytest.param(program, id=f"{page.stem}-{number}")
    for page in sorted(DOCS.rglob("*.md"))
    for number, program in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_python_that_is_shown_runs(program, tmp_path):
    photo = ROOT / "examples/photos/flower.jpg"
    for name in ("photo.jpg", "photos/a.jpg", "photos/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(photo, tmp_path / name)
    for shown, run in INSTEAD.items():
        program = program.replace(shown, run)

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_troubleshooting_has_every_error():
    page = (DOCS / "howto/troubleshooting.md").read_text(encoding="utf-8")
    trees = [
        ast.parse((ROOT / file).read_text(encoding="utf-8"))
        for file in (
            "models/birefnet_models/base/errors.py",
            "runtime/birefnet_runtime/errors.py",
            "export/birefnet_export/errors.py",
            "benchmarks/birefnet_benchmarks/errors.py",
        )
    ]
    errors = {
        node.name
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error")
    }

    assert len(errors) > 20
    missing = {name for name in errors - {"BirefnetError"} if f"`{name}`" not in page}
    assert not missing


def test_environment_variables_of_our_own_are_in_the_reference():
    page = (DOCS / "reference/environment.md").read_text(encoding="utf-8")
    sources = "".join(
        file.read_text(encoding="utf-8")
        for package in ("models", "runtime", "export")
        for file in (ROOT / package).rglob("*.py")
    )

    used = set(re.findall(r'"(BIREFNET_\w+)"', sources))
    assert used
    assert {name for name in used if f"`{name}" not in page} == set()
