"""`examples/web` in a real browser, and transformers.js by the lines of docs/howto/browser.md."""

import io
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from birefnet_export.export import export_onnx
from birefnet_runtime import Segmenter
from PIL import Image
from studies.platforms import web_pages

from .screens import SCREENS, WIDTHS

pytestmark = pytest.mark.interop

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT / "examples" / "photos"
PATIENCE_S = 200.0


@pytest.fixture(scope="module")
def nano(tmp_path_factory):
    """An export directory of nano with its end-to-end file."""
    return export_onnx(
        ROOT / "models" / "nano" / "model.safetensors",
        tmp_path_factory.mktemp("web") / "nano",
        trained_size=(192, 192),
        verify=False,
        end_to_end=True,
    ).directory


@pytest.fixture(scope="module")
def model(nano):
    if not web_pages.WEB.is_dir():
        pytest.skip("onnxruntime-web is not in .web; `make web` installs it")
    return nano / "onnx" / "model_end_to_end.onnx"


def ours(directory, photo):
    """Python's mask, in whole levels."""
    return np.rint(Segmenter(directory)(photo) * np.float64(255))


@pytest.mark.parametrize("isolated", [True, False], ids=["threads", "one-thread"])
def test_the_page_gives_pythons_mask(tab, nano, model, isolated):
    with web_pages.serving(model, isolated=isolated) as server:
        tab.open(server.url, width=1200, phone=False, scheme="light")
        first, second = (
            web_pages.cut_out(tab, PHOTOS / name, PATIENCE_S, device="cpu")
            for name in ("flower.jpg", "china.jpg")
        )

        assert tab.complaints == []
        assert all(url.startswith(server.url) for url in tab.requests)
        cores = tab.value("Math.min(navigator.hardwareConcurrency, 8)")
        tab.open(server.url, width=1200, phone=False, scheme="light")
        again = web_pages.cut_out(tab, PHOTOS / "flower.jpg", PATIENCE_S, device="cpu")

    for run, name in ((first, "flower.jpg"), (second, "china.jpg")):
        assert abs(run.alpha - ours(nano, PHOTOS / name)).max() <= 2
        assert run.threads == (cores if isolated else 1)
        assert 0 < run.memory_bytes < 200e6
    assert not first.cached
    assert again.cached
    np.testing.assert_array_equal(again.alpha, first.alpha)


def test_another_file_at_the_same_address_is_fetched(tab, model, tmp_path):
    """With a file of another time, which is all that a server can tell."""
    copied = tmp_path / "model.onnx"
    shutil.copy(model, copied)
    with web_pages.serving(copied) as server:
        for cached in (False, True, False):
            tab.open(server.url, width=1200, phone=False, scheme="light")
            run = web_pages.cut_out(tab, PHOTOS / "flower.jpg", PATIENCE_S, device="cpu")
            assert run.cached is cached
            if run.cached:
                shutil.copy(model, copied)


def test_without_a_gpu_it_says_so_and_runs(tab, model):
    with web_pages.serving(model) as server:
        tab.open(server.url, width=1200, phone=False, scheme="light")
        run = web_pages.cut_out(tab, PHOTOS / "flower.jpg", PATIENCE_S)
        said = tab.value("document.querySelector('#state').textContent")

    assert (run.device, run.note.partition(":")[0]) in {("cpu", "No WebGPU"), ("webgpu", "")}
    assert run.note in said


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", WIDTHS)
def test_the_page_fits_and_has_names(tab, model, device, scheme, downloaded):
    width = WIDTHS[device]
    with web_pages.serving(model) as server:
        tab.open(server.url, width=width, phone=device == "phone", scheme=scheme)
        assert tab.value("document.documentElement.scrollWidth") <= width
        web_pages.cut_out(tab, PHOTOS / "flower.jpg", PATIENCE_S, device="cpu")
        assert tab.value("document.documentElement.scrollWidth") <= width
        tab.screenshot(SCREENS / f"web-{device}-{scheme}.png")

        met = tab.names()
        for role in ("button", "slider", "combobox", "image"):
            names = [name for kind, name in met if kind.lower() == role]
            assert names, (role, met)
            assert all(names), (role, names)

        tab.value("document.querySelector('#slider').focus()")
        tab.press("ArrowRight", times=10)
        clip = tab.value("getComputedStyle(document.querySelector('#before')).clipPath")
        assert "40%" in clip

        tab.value("document.querySelector('#download').click()")
        name, content = downloaded()
    assert tab.complaints == []
    with Image.open(io.BytesIO(content)) as image:
        assert (name, image.mode, image.size) == ("flower.png", "RGBA", (640, 427))


def test_what_is_no_picture_and_a_model_that_is_missing_are_errors(tab, model, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    with web_pages.serving(model) as server:
        tab.open(f"{server.url}?model=other.onnx", width=800, phone=False, scheme="light")
        with pytest.raises(RuntimeError, match=r"text\.png: .*can’t read it"):
            web_pages.cut_out(tab, tmp_path / "text.png", PATIENCE_S, device="cpu")
        with pytest.raises(RuntimeError, match=r"other\.onnx: the server answered 404"):
            web_pages.cut_out(tab, PHOTOS / "flower.jpg", PATIENCE_S, device="cpu")


@pytest.fixture
def transformers(tmp_path):
    if not web_pages.TRANSFORMERS.is_dir():
        pytest.skip("transformers.js is not in .interop; `make interop` installs it")
    (tmp_path / "node_modules").symlink_to(web_pages.INTEROP)
    return tmp_path


def test_the_lines_of_the_documentation_are_right_in_node(nano, transformers):
    """As they stand there."""
    text = (ROOT / "docs/howto/browser.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"^```js\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    (transformers / "cut_out.mjs").write_text(lines, encoding="utf-8")
    shutil.copy(web_pages.RESIZE, transformers)
    (transformers / "main.mjs").write_text(
        "import { AutoModel, AutoProcessor, RawImage, env } from '@huggingface/transformers';\n"
        "import { cutOut } from './cut_out.mjs';\n"
        "const [parent, name, photo, cutout] = process.argv.slice(2);\n"
        "[env.allowRemoteModels, env.localModelPath] = [false, parent];\n"
        "const model = await AutoModel.from_pretrained(name, { dtype: 'fp32', device: 'cpu' });\n"
        "const processor = await AutoProcessor.from_pretrained(name);\n"
        "const picture = await RawImage.read(photo);\n"
        "await (await cutOut(model, processor, picture)).save(cutout);\n"
    )
    for photo in PHOTOS.glob("*.jpg"):
        cutout = transformers / f"{photo.stem}.png"
        command = ["node", "main.mjs", f"{nano.parent}/", nano.name, photo, cutout]
        subprocess.run(command, check=True, cwd=transformers)
        with Image.open(cutout) as image:
            alpha = np.asarray(image)[..., 3]
        assert abs(alpha - ours(nano, photo)).max() <= 3


def test_the_cause_is_their_resizing_before_and_after(nano, transformers):
    """Each step alone leaves a large difference, and both replaced leave none."""
    photo = PHOTOS / "flower.jpg"
    masks = web_pages.steps_in_node(nano, photo)["masks"]

    off = {name: abs(mask - ours(nano, photo)).max() for name, mask in masks.items()}
    assert off.pop("in ours, back ours") <= 3
    assert len(off) == 3
    assert min(off.values()) > 20
