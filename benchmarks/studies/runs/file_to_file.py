"""From a file to its cutout: `python -m studies.runs.file_to_file FILE MODEL CHECKPOINT REMBG`.

MODEL is an `.onnx` that runs at SIZE, CHECKPOINT its weights for PyTorch, REMBG the program of
rembg. A photograph of 12 megapixels, JPEG in:

- `stages`: what each of our steps takes, in one process that is warm, encoders in turns. What
  comes after the network gets nano's mask, for how long it takes hangs on the mask, and one by
  generated weights is noise;
- `peers`: one file in a process of its own, from its start to the written PNG, by `birefnet
  cutout`, by `rembg i` on the same `.onnx`, and by PyTorch with the lines that upstream's model
  card has, foreground colors included: time, processor time and peak memory, in turns;
- `folder`: a folder of FILES such photographs by `birefnet cutout` and by `rembg p`.
"""

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.inputs import COMMAND
from birefnet_benchmarks.bench.results import write_results
from birefnet_models.base.text import format_bytes, format_seconds
from birefnet_runtime import Color, Segmenter, Style, compose, estimate_foreground, read_image
from birefnet_runtime.images.write import AVIF, JPEG, PNG, WEBP, Encoding, write_image

from studies.runs.throughput import make_photos
from studies.service.serve_processes import REMBG_MODEL
from studies.tables import table_lines

THREADS = 2
SIZE = 1024
PHOTO = (3000, 4000)
FILES = 6
ROUNDS = 3
STEP_ROUNDS = 9
"""Of the steps, which are short beside what else a machine does."""
PHOTOS = Path(__file__).parents[3] / "examples" / "photos"
UPSTREAM = "import sys; from studies.runs.upstream_lines import main; main(*sys.argv[1:])"
ENCODINGS = {
    "PNG": Encoding(PNG),
    "WebP": Encoding(WEBP),
    "WebP without loss": Encoding(WEBP, lossless=True),
    "AVIF": Encoding(AVIF),
    "JPEG": Encoding(JPEG),
}
WITHIN = ("read", "resize", "network", "mask back", "compose", "PNG")
"""The steps from a JPEG to its PNG."""

Record = dict[str, Any]


def stages(model: Path, photo: Path) -> Record:
    """Seconds of each step, medians of STEP_ROUNDS after a first round."""
    segmenter = Segmenter(model, size=SIZE, threads=THREADS)
    mask = Segmenter("nano", threads=THREADS)(photo)
    seconds: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        done = work()
        seconds.setdefault(name, []).append(time.perf_counter() - started)
        return done

    for _ in range(STEP_ROUNDS + 1):
        picture = timed("read", partial(read_image, photo))
        prepared = timed("resize", partial(segmenter.prepare, picture.pixels))
        (logits,) = timed("network", partial(segmenter.run, [prepared]))
        timed("mask back", partial(segmenter.finish, prepared, logits))
        cut = timed("compose", partial(compose, picture, mask, threads=THREADS))
        timed("foreground", partial(estimate_foreground, picture.pixels, mask, threads=THREADS))
        flat = compose(picture, mask, Style(background=Color((255, 255, 255))))
        for name, encoding in ENCODINGS.items():
            pixels = flat.pixels if encoding.format is JPEG else cut.pixels
            timed(name, partial(write_image, io.BytesIO(), pixels, encoding))
    return {name: median(runs[1:]) for name, runs in seconds.items()}


def spent(command: tuple[str, ...], environment: dict[str, str]) -> Record:
    """Wall time, processor time and peak memory of a process."""
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ | environment
    ) as process:
        assert process.stderr
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said.decode(errors="replace")
    return {
        "wall_s": time.perf_counter() - started,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_rss_bytes": usage.ru_maxrss * 1024,
    }


@contextmanager
def rembg_home(model: Path) -> Iterator[dict[str, str]]:
    """The environment in which rembg takes this file for its own."""
    with tempfile.TemporaryDirectory() as home:
        shutil.copy(model, Path(home, f"{REMBG_MODEL}.onnx"))
        yield {
            "U2NET_HOME": home,
            "MODEL_CHECKSUM_DISABLED": "1",
            "OMP_NUM_THREADS": str(THREADS),
        }


def ours(model: Path, source: Path, target: Path, *options: str) -> tuple[str, ...]:
    """The command that cuts out a file or a folder."""
    fixed = ("--size", str(SIZE), "--threads", str(THREADS), "--provider", "cpu")
    whole = ("cutout", str(source), "-o", str(target), "-m", str(model), *fixed, *options)
    return (sys.executable, "-c", COMMAND, *whole)


def peers(model: Path, checkpoint: Path, rembg: Path, photo: Path, folder: Path) -> Record:
    """One file, from the start of the process to the end."""
    png = str(folder / "out.png")
    upstream = (str(checkpoint), str(photo), png, str(SIZE), str(THREADS))
    with rembg_home(model) as home:
        commands = {
            **{
                f"birefnet cutout, {name}": ours(
                    model, photo, folder / f"out{form.suffixes[0]}", *more
                )
                for name, form, more in (
                    ("PNG", PNG, ()),
                    ("WebP", WEBP, ()),
                    ("JPEG", JPEG, ("--background", "white")),
                )
            },
            "rembg i, PNG": (str(rembg), "i", "-m", REMBG_MODEL, str(photo), png),
            "PyTorch, upstream's lines, PNG": (sys.executable, "-c", UPSTREAM, *upstream),
        }
        runs: dict[str, list[Record]] = {name: [] for name in commands}
        for number in range(ROUNDS + 1):  # the first makes the compiled form and fills caches
            for name, command in commands.items():
                run = spent(command, home)
                runs[name] += [run] if number else []
    return {name: _medians(done) for name, done in runs.items()}


def folders(model: Path, rembg: Path, folder: Path) -> Record:
    """A folder, a picture at a time."""
    source = folder / "in"
    source.mkdir()
    make_photos(source, PHOTOS, FILES, PHOTO)
    target = folder / "rembg"
    target.mkdir()
    with rembg_home(model) as home:
        runs = {
            "birefnet cutout": spent(ours(model, source, folder / "ours"), home),
            "rembg p": spent((str(rembg), "p", "-m", REMBG_MODEL, str(source), str(target)), home),
        }
    written = {"birefnet cutout": folder / "ours", "rembg p": target}
    for name, run in runs.items():
        assert len(list(written[name].glob("*.png"))) == FILES, name
        run |= {"wall_each_s": run["wall_s"] / FILES, "cpu_each_s": run["cpu_s"] / FILES}
    return runs


def markdown_table(stored: Record) -> str:
    """Steps, then peers, then the folder, from the content of the file."""
    steps = stored["stages"]
    whole = sum(steps[name] for name in WITHIN)
    names = [*WITHIN, *(name for name in ENCODINGS if name not in WITHIN)]
    rows = [(name, format_seconds(steps[name]), f"{steps[name] / whole:.1%}") for name in names]
    lines = table_lines(("step", "time", "of the whole with PNG"), rows)
    measured = [*stored["peers"].items(), *stored["folder"].items()]
    cells = [
        (
            name,
            str(stored["files"] if "wall_each_s" in run else 1),
            format_seconds(run.get("wall_each_s", run["wall_s"])),
            format_seconds(run.get("cpu_each_s", run["cpu_s"])),
            format_bytes(run["peak_rss_bytes"]),
        )
        for name, run in measured
    ]
    heads = ("program", "pictures", "time each", "processor time each", "peak RSS")
    environment = stored["environment"]
    caption = (
        f"A JPEG of {PHOTO[1]}x{PHOTO[0]}, lite's size of network with generated weights at "
        f"{SIZE}x{SIZE}, {THREADS} threads. Steps: the mask is nano's; everything except the "
        f"network takes {1 - steps['network'] / whole:.1%}; of composing, the foreground's colors "
        f"take {format_seconds(steps['foreground'])}. Programs: the mask is noise, which takes "
        f"every one of them longest behind the network. {environment['processor']}, "
        f"{environment['cores']} cores; onnxruntime {environment['packages']['onnxruntime']}."
    )
    return "\n".join([*lines, "", *table_lines(heads, cells), "", caption])


def _medians(runs: list[Record]) -> Record:
    return {name: median(run[name] for run in runs) for name in runs[0]}


def main(file: str, model: str, checkpoint: str, rembg: str) -> None:
    """Measure and write the results file."""
    network = Path(model).absolute()
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        (photo,) = make_photos(folder, PHOTOS, 1, PHOTO)
        stored = {
            "environment": asdict(read_environment()),
            "threads": THREADS,
            "size": SIZE,
            "files": FILES,
            "stages": stages(network, photo),
            "peers": peers(network, Path(checkpoint), Path(rembg), photo, folder),
            "folder": folders(network, Path(rembg), folder),
        }
    write_results(Path(file), stored)
    print(markdown_table(stored))


if __name__ == "__main__":
    main(*sys.argv[1:])
