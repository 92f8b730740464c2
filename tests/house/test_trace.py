"""How much code has to be read to follow one image: the trace of `birefnet cutout photo.jpg`."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "examples" / "photos" / "flower.jpg"

MOST_FILES = 45
MOST_FUNCTIONS = 236
MOST_CHANGES = 200
"""From a function in one file to a function in another."""


def test_the_trace_of_one_cutout_stays_short(tmp_path):
    """The second run, which finds the compiled form and the hashes of the first."""
    command = [sys.executable, str(Path(__file__).with_name("trace_calls.py"))]
    command += ["cutout", str(PHOTO), "--output", str(tmp_path / "cutout.png")]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)

    assert (tmp_path / "cutout.png").is_file()
    assert ["birefnet_runtime/segmenter.py", "Segmenter.run"] in found["names"]
    assert found["files"] <= MOST_FILES, sorted({file for file, _ in found["names"]})
    assert found["functions"] <= MOST_FUNCTIONS, found["names"]
    assert found["changes"] <= MOST_CHANGES
