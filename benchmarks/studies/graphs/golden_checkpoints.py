"""Write checkpoints with the golden weights: `python -m studies.graphs.golden_checkpoints DIR t l`.

Weights that `tests/golden/fill.py` draws from names and shapes, so that anybody measures the same
networks without a download. Letters are those of Swin v1: t, s, b, l; other backbones have
upstream's names, as pvt_v2_b0.
"""

import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"


def main(arguments: Sequence[str]) -> None:
    """Write one file for each name behind the directory."""
    directory, *names = arguments
    for name in names:
        write_checkpoint(Path(directory), f"swin_v1_{name}" if len(name) == 1 else name)


def write_checkpoint(directory: Path, backbone: str) -> Path:
    """Write the golden weights of a backbone with the released decoder; returns the file.

    Raises:
        FileNotFoundError: `tests/golden` doesn't list the names of its tensors.
    """
    shapes = json.loads((GOLDEN / f"{backbone}.keys.json").read_text())
    spec = importlib.util.spec_from_file_location("fill", GOLDEN / "fill.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(GOLDEN / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    drawn = fill.state_dict({name: tuple(shape) for name, shape in shapes.items()})
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{backbone}.safetensors"
    save_file({name: np.ascontiguousarray(value) for name, value in drawn.items()}, file)
    return file


if __name__ == "__main__":
    main(sys.argv[1:])
