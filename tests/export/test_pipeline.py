"""The export's pipeline on systems that lack modules of Unix."""

import subprocess
import sys

import pytest

WITHOUT_UNIX = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name in {"resource", "fcntl", "pwd", "grp", "termios"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Block())
for name in ("resource", "fcntl", "pwd", "grp", "termios"):
    sys.modules.pop(name, None)
"""


@pytest.mark.slow
def test_it_is_imported_without_modules_that_windows_lacks():
    program = f"{WITHOUT_UNIX}\nfrom birefnet_export.pipeline import run_export"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
