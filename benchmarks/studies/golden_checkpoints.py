"""Write checkpoints with the golden weights: `python -m studies.golden_checkpoints DIR t l`.

Weights that `tests/golden/fill.py` draws from names and shapes, so that anybody measures the same
networks without a download. Letters are those of Swin v1: t, s, b, l.
"""

import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

GOLDEN = Path(__file__).parents[2] / "tests" / "golden"


def main(arguments: Sequence[str]) -> None:
    """Write one file for each letter behind the directory."""
    directory, *letters = arguments
    spec = importlib.util.spec_from_file_location("fill", GOLDEN / "fill.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(GOLDEN / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    Path(directory).mkdir(parents=True, exist_ok=True)
    for letter in letters:
        shapes = json.loads((GOLDEN / f"swin_v1_{letter}.keys.json").read_text())
        drawn = fill.state_dict({name: tuple(shape) for name, shape in shapes.items()})
        tensors = {name: np.ascontiguousarray(value) for name, value in drawn.items()}
        save_file(tensors, Path(directory) / f"swin_v1_{letter}.safetensors")


if __name__ == "__main__":
    main(sys.argv[1:])
