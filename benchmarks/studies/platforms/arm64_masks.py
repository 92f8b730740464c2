"""Masks of photographs by several models, in one process: importing is slow under emulation.

    python arm64_masks.py TARGET PROVIDER MODEL... -- PHOTOGRAPH...

Writes TARGET, an .npz with a uint8 (height, width) mask a model and photograph, `MODEL|PHOTOGRAPH`,
and prints the versions as JSON. Runs on Arm and here alike.
"""

import json
import platform
import sys
from importlib.metadata import version
from typing import Any

import numpy as np
from birefnet_runtime import Segmenter

target, provider, *rest = sys.argv[1:]
split = rest.index("--")
models, photographs = rest[:split], rest[split + 1 :]
masks: dict[str, Any] = {}
for model in models:
    segmenter = Segmenter(model, providers=provider, threads=1)
    for photograph in photographs:
        alpha = segmenter(photograph)
        if not np.isfinite(alpha).all():
            raise SystemExit(f"{model}: {photograph}: the mask has values that are no numbers")
        masks[f"{model}|{photograph}"] = np.rint(alpha * 255).astype(np.uint8)
np.savez(target, **masks)
packages = ("birefnet-ort", "numpy", "onnxruntime", "opencv-python-headless", "Pillow")
print(
    json.dumps(
        {
            "machine": platform.machine(),
            "python": platform.python_version(),
            "packages": {name: version(name) for name in packages},
        }
    )
)
