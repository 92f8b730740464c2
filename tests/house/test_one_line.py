"""README's first line, in a fresh environment without PyTorch: from nothing to a cutout.

With a lite-sized checkpoint of generated weights, on a hub on loopback that the hub's own client
talks to. The package and what it needs come from the registry that pip is set up for.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from birefnet_models.pins import Pin, write_pin
from PIL import Image
from safetensors.numpy import save_file
from studies.processes import MEMORY_GROUPS, can_limit, limited

from ..golden import fill
from ..hub_server import etag

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
REPO = "ZhengPeng7/BiRefNet_lite"
LIMIT_BYTES = 1 << 30

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder of commands of a fresh environment with `.[cpu,export]`."""
    venv = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip = [venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*pip, "--constraint", ROOT / "constraints.txt", f"{ROOT}[cpu,export]"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode:
        pytest.skip(f"pip can't install it here: {done.stderr.strip().splitlines()[-1]}")
    return venv / "bin"


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> bytes:
    """A checkpoint of lite's names and shapes."""
    shapes = json.loads((ROOT / "tests/golden/swin_v1_t.keys.json").read_text())
    file = tmp_path_factory.mktemp("lite") / "model.safetensors"
    save_file(fill.state_dict({name: tuple(shape) for name, shape in shapes.items()}), file)
    return file.read_bytes()


@pytest.fixture
def lite(hub, weights):
    """A working directory whose lock file pins what the hub has: the zoo pins other weights."""
    commit = hub.repo(REPO).commit({"model.safetensors": weights})
    pin = Pin(commit, "model.safetensors", len(weights), etag(weights))
    write_pin(Path("birefnet.lock"), f"{REPO}@main", pin)
    return hub


def one_line(
    installed: Path, join: Callable[[], object] | None = None
) -> subprocess.CompletedProcess[str]:
    line = re.findall(r"```sh\n(.*?)\n", README)[0]
    install, command = line.partition("#")[0].split(" && ")
    assert install == "pip install '.[cpu,export]'"
    program, action, photo, *rest = shlex.split(command)
    assert (action, photo, rest[-2:]) == ("cutout", "photo.jpg", ["--model", "lite"])
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [installed / program, action, ROOT / "examples/photos/china.jpg", *rest],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=join,
    )


def test_the_first_line_gives_a_cutout_and_then_opens_at_once(installed, lite):
    without = [installed / "python", "-c", "import torch"]
    assert b"No module named 'torch'" in subprocess.run(without, capture_output=True).stderr

    first = one_line(installed)
    asked = len(lite.requests)
    second = one_line(installed)

    for done in (first, second):
        assert done.returncode == 0, done.stderr
        assert "Warning" not in done.stderr
    lines = first.stderr.splitlines()
    assert re.search(rf"fetching {lite.url}/{REPO}/.*\.safetensors \(17\d MB, .* MIT\)", lines[0])
    assert "lite is made in fp32" in lines[1]
    assert "lite is made" not in second.stderr
    assert len(lite.requests) == asked
    with Image.open("cutout.png") as image:
        assert (image.mode, image.size) == ("RGBA", (640, 427))


def test_it_runs_through_in_a_gigabyte(installed, lite):
    if not can_limit():
        pytest.skip(f"{MEMORY_GROUPS} can't be written to: no control group can be made here")
    with limited(LIMIT_BYTES) as join:
        done = one_line(installed, join)

    assert done.returncode == 0, done.stderr[-2000:]
    assert Path("cutout.png").is_file()
