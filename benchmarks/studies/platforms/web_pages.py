"""The page of `examples/web` and transformers.js, run on a photograph: masks and what they took."""

import base64
import importlib.util
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.platforms.browser import Tab

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
WEB = ROOT / ".web" / "node_modules" / "onnxruntime-web"
"""Where `make web` puts it."""
INTEROP = ROOT / ".interop" / "node_modules"
"""Where `make interop` puts transformers.js."""
TRANSFORMERS = INTEROP / "@huggingface" / "transformers"
RESIZE = ROOT / "examples" / "web" / "pillow_resize.mjs"

Levels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PageRun:
    """What the page made of a photograph."""

    alpha: Levels
    """uint8 (H, W)."""
    seconds: float
    memory_bytes: int
    """Of wasm, which only grows: its peak."""
    device: str
    threads: int
    cached: bool
    """The model came from the browser's cache."""
    note: str
    """Why it isn't the GPU."""


def server_module() -> ModuleType:
    """`examples/web/serve.py`."""
    file = ROOT / "examples" / "web" / "serve.py"
    spec = importlib.util.spec_from_file_location("examples_web_serve", file)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def serving(model: Path, *, isolated: bool = True) -> Iterator[Any]:
    """The page's server with this model, on a free port of loopback."""
    with server_module().Server(model, WEB / "dist", 0, isolated) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def cut_out(tab: Tab, photo: Path, patience_s: float, device: str = "auto") -> PageRun:
    """Give the open page a photograph, and wait for its mask."""
    tab.value(
        f"window.lastRun = null; document.querySelector('#device').value = {device!r};"
        "document.querySelector('#state').classList.remove('bad')"
    )
    tab.choose_files("#file", [photo])
    tab.wait_for("window.lastRun || document.querySelector('#state.bad')", patience_s)
    if tab.value("lastRun === null"):
        raise RuntimeError(tab.value("document.querySelector('#state').textContent"))
    width, height = tab.value("[lastRun.picture.width, lastRun.picture.height]")
    channels = (
        "(({data}) => Array.from(data.filter((_, i) => i % 4 == 3), c => String.fromCharCode(c)))"
    )
    alpha = base64.b64decode(tab.value(f"btoa({channels}(lastRun.picture).join(''))"))
    names = ("seconds", "memoryBytes", "device", "threads", "cached", "note")
    facts = tab.value(f"[{', '.join(f'lastRun.{name}' for name in names)}]")
    return PageRun(np.frombuffer(alpha, np.uint8).reshape(height, width), *facts)


def steps_in_node(export: Path, photo: Path) -> dict[str, Any]:
    """What `transformers_steps.mjs` finds in Node, for an export directory."""
    library = TRANSFORMERS / "dist" / "transformers.node.mjs"
    parent = f"{export.parent}/"
    script = HERE / "transformers_steps.mjs"
    command = ["node", *map(str, (script, library, RESIZE, parent, export.name, photo))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return decoded(json.loads(done.stdout.splitlines()[-1]))


def steps_in_browser(tab: Tab, export: Path, photo: Path, patience_s: float) -> dict[str, Any]:
    """The same in a browser."""
    with serving(export / "onnx" / "model.onnx") as server:
        common, ort = INTEROP / "onnxruntime-common/dist/esm", INTEROP / "onnxruntime-web/dist"
        server.files |= {f"/common/{file.name}": file for file in common.glob("*.js")}
        server.files |= {f"/transformers/ort/{file.name}": file for file in ort.iterdir()}
        for name in ("config.json", "preprocessor_config.json", "onnx/model.onnx"):
            server.files[f"/models/exported/{name}"] = export / name
        server.files |= {
            "/transformers/transformers.web.js": TRANSFORMERS / "dist/transformers.web.js",
            "/pillow_resize.mjs": RESIZE,
            "/transformers_steps.mjs": HERE / "transformers_steps.mjs",
            "/steps": HERE / "transformers_steps.html",
            "/photo": photo,
        }
        tab.open(f"{server.url}steps", width=800, phone=False, scheme="light")
        tab.wait_for("window.result || window.failure", patience_s)
        if failure := tab.value("window.failure"):
            raise RuntimeError(failure)
        return decoded(json.loads(tab.value("result")))


def decoded(result: dict[str, Any]) -> dict[str, Any]:
    """Masks as uint8 (H, W), the network's input and logits as float32."""
    size = (result["height"], result["width"])
    network = tuple(result["network"])
    masks = {
        name: np.frombuffer(base64.b64decode(text), np.uint8).reshape(size)
        for name, text in result["masks"].items()
    }
    tensors = {
        way: {
            "input": _floats(result[way]["input"]).reshape(1, 3, *network),
            "logits": _floats(result[way]["logits"]).reshape(1, 1, *network),
        }
        for way in ("theirs", "ours")
    }
    return {"masks": masks, **tensors}


def _floats(text: str) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(text), np.float32)
