"""An export directory in the hands of other tools, unchanged. `make interop` brings the tools."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from birefnet_export.export import export_onnx
from birefnet_runtime.model.known_answer import KEY
from PIL import Image

pytestmark = pytest.mark.interop

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".interop"
NODE = TOOLS / "node_modules" / "onnxruntime-node"
PIPELINE = """
import { env, pipeline } from '@huggingface/transformers';
const [parent, name, photo, cutout] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = parent;
const segment = await pipeline('background-removal', name, { dtype: 'fp32', device: 'cpu' });
const result = await segment(photo);
await (Array.isArray(result) ? result[0] : result).save(cutout);
"""


@pytest.fixture
def exported(tiny_file, tmp_path):
    return export_onnx(tiny_file, tmp_path / "tiny-onnx", trained_size=(96, 160), verify=False)


@pytest.fixture
def photo(tmp_path):
    file = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
    Image.fromarray(pixels).resize((140, 100)).save(file)
    return file


def run(*command: str | Path, **environment: str) -> None:
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def alpha_of(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        assert image.mode == "RGBA"
        assert image.size == (140, 100)
        return np.asarray(image)[..., 3]


def ours(exported, photo) -> np.ndarray:
    from birefnet_runtime import Segmenter

    return 255 * Segmenter(exported.directory)(photo)


def test_transformers_js_loads_the_directory(exported, photo, tmp_path):
    if not (TOOLS / "node_modules" / "@huggingface").is_dir():
        pytest.skip("transformers.js is not in .interop; `make interop` installs it")
    script = TOOLS / "pipeline.mjs"
    script.write_text(PIPELINE)

    run("node", script, f"{tmp_path}/", "tiny-onnx", photo, tmp_path / "cutout.png")

    # It resizes without antialiasing, so its mask is near ours, not equal.
    difference = abs(alpha_of(tmp_path / "cutout.png") - ours(exported, photo))
    assert difference.mean() < 12


def test_rembg_takes_the_file_for_its_own(exported, photo, tmp_path):
    rembg = TOOLS / "venv" / "bin" / "rembg"
    if not rembg.is_file():
        pytest.skip("rembg is not in .interop; `make interop` installs it")
    home = tmp_path / "u2net"
    home.mkdir()
    large = export_onnx(tmp_path / "model.safetensors", tmp_path / "large", verify=False)
    shutil.copy(large.file, home / "birefnet-general-lite.onnx")

    run(
        rembg, "i", "-m", "birefnet-general-lite", photo, tmp_path / "cutout.png",
        U2NET_HOME=str(home), MODEL_CHECKSUM_DISABLED="1",
    )  # fmt: skip

    assert alpha_of(tmp_path / "cutout.png").std() > 0


@pytest.fixture
def whole(tiny_file, tmp_path) -> Path:
    """The file of the tiny network from pixels to alpha."""
    report = export_onnx(
        tiny_file, tmp_path / "whole", trained_size=(96, 160), end_to_end=True, verify=False
    )
    return report.end_to_end.file


@pytest.fixture
def compiled(tmp_path):
    """Compile one of the C++ examples."""
    headers = TOOLS / "cpp/root/usr/include/onnxruntime"
    library = next(NODE.glob("bin/*/linux/x64/libonnxruntime.so.1"), None)
    if library is None or not headers.is_dir() or shutil.which("c++") is None:
        pytest.skip("no compiler, or no ONNX Runtime for it in .interop: `make interop` says why")
    options = ("-std=c++17", "-Wall", "-Werror", f"-I{headers}", f"-Wl,-rpath,{library.parent}")

    def compile_(name: str) -> Path:
        source = ROOT / "examples" / "cpp" / f"{name}.cpp"
        run("c++", *options, source, library, "-o", tmp_path / name)
        return tmp_path / name

    return compile_


def test_the_cpp_example_gives_the_runtimes_alpha(exported, whole, photo, tmp_path, compiled):
    program = compiled("alpha")
    with Image.open(photo) as image:
        image.save(tmp_path / "photo.ppm")

    run(program, whole, tmp_path / "photo.ppm", tmp_path / "alpha.pgm")

    with Image.open(tmp_path / "alpha.pgm") as image:
        alpha = np.asarray(image, np.float32)
    difference = abs(alpha - ours(exported, photo))
    assert difference.max() <= 1
    assert difference.mean() < 0.3

    done = subprocess.run([program, whole, photo, tmp_path / "no.pgm"], stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr.decode().startswith(f"alpha: {photo}: is no binary PPM")


def in_cpp(compiled) -> list[str | Path]:
    return [compiled("known_answer")]


def in_node(compiled) -> list[str | Path]:
    if not NODE.is_dir():
        pytest.skip("onnxruntime-node is not in .interop; `make interop` installs it")
    for folder in ("node", "web"):  # beside the packages that they import
        (TOOLS / folder).mkdir(exist_ok=True)
        shutil.copy(ROOT / "examples" / folder / "known_answer.mjs", TOOLS / folder)
    return ["node", TOOLS / "node" / "known_answer.mjs"]


@pytest.mark.parametrize("command", [in_cpp, in_node])
def test_the_examples_ask_for_the_known_answer(whole, tmp_path, compiled, command):
    """A right file, one whose answer is another's, and one without."""
    program = command(compiled)
    proto = onnx.load(whole)
    (entry,) = (each for each in proto.metadata_props if each.key == KEY)
    known = json.loads(entry.value)
    known["alpha"] = base64.b64encode(bytes(len(base64.b64decode(known["alpha"])))).decode()
    entry.value = json.dumps(known)
    onnx.save(proto, tmp_path / "wrong.onnx")
    proto.metadata_props.remove(entry)
    onnx.save(proto, tmp_path / "none.onnx")

    asked = [
        subprocess.run([*program, file], capture_output=True, text=True, check=False)
        for file in (whole, tmp_path / "wrong.onnx", tmp_path / "none.onnx")
    ]

    assert [each.returncode for each in asked] == [0, 1, 2]
    assert "right: off by" in asked[0].stdout


def test_the_node_example_gives_the_runtimes_alpha(exported, whole, photo, tmp_path):
    if not NODE.is_dir():
        pytest.skip("onnxruntime-node is not in .interop; `make interop` installs it")
    script = TOOLS / "alpha.mjs"  # beside the packages that it imports
    shutil.copy(ROOT / "examples" / "node" / "alpha.mjs", script)

    run("node", script, whole, photo, tmp_path / "alpha.png")

    with Image.open(tmp_path / "alpha.png") as image:
        assert image.mode == "L"
        alpha = np.asarray(image, np.float32)
    difference = abs(alpha - ours(exported, photo))
    assert difference.max() <= 1
    assert difference.mean() < 0.3  # of which .25 is what rounding to 8 bits costs
