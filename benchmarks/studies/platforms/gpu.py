"""Time and memory on an NVIDIA GPU: CUDA and TensorRT beside PyTorch, in fp32 and fp16.

`python -m studies.platforms.gpu FOLDER` runs `birefnet bench` for lite and general at three sizes,
into FOLDER/lite and FOLDER/general. Weights are generated, so no download is needed: time and
memory don't depend on what they say. With `--look` instead it only says whether there is a GPU and
a driver; exit code 1 if not.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

BIREFNET = (sys.executable, "-c", "from birefnet_apps.cli.main import main; main()")
ROOT = Path(__file__).parents[3]
BACKBONES = {"lite": "t", "general": "l"}
SIZES = "512,1024,2048"
MEASURED = (
    *("--providers", "cuda,tensorrt", "--precisions", "fp32,fp16", "--lowerings", "native"),
    *("--pytorch", "eager:cuda", "--sizes", SIZES, "--images", "examples/photos"),
    *("--note", "weights are generated: time and memory don't depend on them"),
)


def look() -> str:
    """The GPUs and the driver of this machine, as a line.

    Raises:
        SystemExit: there is none; says what is missing.
    """
    doctor = [*BIREFNET, "doctor", "--json"]
    said = subprocess.run(doctor, capture_output=True, text=True, check=False).stdout
    driver = json.loads(said)["driver"]
    if driver is None or not driver["gpus"]:
        raise SystemExit(
            "make gpu-report needs an NVIDIA GPU and its driver, for CUDA 13; "
            f"{'no GPU' if driver else 'no driver'} was found here "
            "(in a container: run it with --gpus all)"
        )
    return json.dumps(driver)


def main(arguments: Sequence[str]) -> None:
    """Measure both networks, or look."""
    print(look())
    if arguments[0] == "--look":
        return
    from studies.graphs.golden_checkpoints import write_checkpoint

    for name, letter in BACKBONES.items():
        checkpoint = write_checkpoint(ROOT / "out/gpu", f"swin_v1_{letter}")
        named = checkpoint.rename(checkpoint.with_name(f"{name}.safetensors"))
        bench = ("bench", "run", str(named), "--output", str(Path(arguments[0]) / name), *MEASURED)
        subprocess.run([*BIREFNET, *bench], cwd=ROOT, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
