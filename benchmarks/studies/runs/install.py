"""From nothing to a cutout: what is downloaded and stored, how many commands, minutes and how much
memory, beside rembg.

`python -m studies.runs.install FILE`

Each row is a fresh environment: its wheels are downloaded and counted, installed from there, and
one photograph is cut out, the first time and the second. Lite's weights are generated ones, from a
hub on loopback, so that their download is no part of the time; rembg gets the graph that was made
of them, in the place of its own.
"""

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import write_results
from birefnet_models.base.text import format_bytes, format_seconds
from birefnet_models.cache import MODEL
from birefnet_models.inventory import size_of
from birefnet_models.pins import Pin, write_pin

from studies.graphs.golden_checkpoints import write_checkpoint
from studies.processes import can_limit, limited
from studies.tables import table_lines

ROOT = Path(__file__).parents[3]
PHOTO = ROOT / "examples" / "photos" / "china.jpg"
REPO = "ZhengPeng7/BiRefNet_lite"
TARGETS = {
    "birefnet-ort[cpu]": (f"{ROOT}[cpu]",),
    "birefnet-ort[cpu,export]": (f"{ROOT}[cpu,export]",),
    "rembg[cpu,cli]": ("rembg[cpu,cli]==2.0.86",),
}
LIMIT_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Installed:
    """What an environment costs before anything is cut out."""

    packages: int
    download_bytes: int
    disk_bytes: int
    """Of the whole environment, pip and the compiled modules included."""
    install_s: float
    """From wheels that are here."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a command cost."""

    command: str
    took_s: float
    processor_s: float
    """Of all its threads: on a busy machine the figure that counts."""
    peak_rss_bytes: int
    exit_code: int
    limit_bytes: int | None = None


def main(arguments: list[str]) -> None:
    """Measure and write the results file."""
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, requirements in TARGETS.items():
            rows[name] = asdict(install(folder / name, requirements))
            print(name, rows[name], flush=True)
        runs = first_runs(folder)
    content = {
        "environment": asdict(read_environment()),
        "installed": rows,
        "runs": [asdict(run) for run in runs],
    }
    write_results(Path(arguments[0]), content)
    print("\n".join(lines(content)))


def install(folder: Path, requirements: tuple[str, ...]) -> Installed:
    """A fresh environment with these requirements, from wheels that are downloaded first."""
    wheels, venv = folder / "wheels", folder / "venv"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    subprocess.run([*pip, "wheel", "--wheel-dir", wheels, *requirements], check=True)
    files = list(wheels.glob("*.whl"))
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    started = time.perf_counter()
    subprocess.run(
        [venv / "bin" / "python", *pip[1:], "install", "--no-index", "--no-deps", *files],
        check=True,
    )
    took_s = time.perf_counter() - started
    size = sum(file.stat().st_size for file in files)
    return Installed(len(files), size, size_of(venv), took_s)


def first_runs(folder: Path) -> list[Run]:
    """The one line in our environment, again, in 1 GB; and rembg's with the same graph."""
    sys.path.insert(0, str(ROOT))
    hub_server = importlib.import_module("tests.hub_server")
    weights = write_checkpoint(folder / "checkpoint", "swin_v1_t")
    birefnet = folder / "birefnet-ort[cpu,export]" / "venv" / "bin" / "birefnet"
    rembg = folder / "rembg[cpu,cli]" / "venv" / "bin" / "rembg"
    runs = []
    with hub_server.serving() as hub:
        content = weights.read_bytes()
        commit = hub.repo(REPO).commit({weights.name: content})
        for limit in (None, LIMIT_BYTES if can_limit() else None):
            here = folder / f"run-{limit}"
            here.mkdir()
            # The zoo pins the official weights; these are others.
            pin = Pin(commit, weights.name, len(content), hub_server.etag(content))
            write_pin(here / "birefnet.lock", f"{REPO}@main", pin)
            environment = {
                "HF_ENDPOINT": hub.url,
                "HF_HOME": str(here / "hf"),
                "BIREFNET_CACHE": str(here / "cache"),
            }
            command = (birefnet, "cutout", PHOTO, "--output", "cutout.png", "--model", "lite")
            runs += [measured(command, here, environment, limit) for _ in range(2)]
    (graph,) = here.glob(f"cache/models/*/*/{MODEL}")
    home = folder / "u2net"
    home.mkdir()
    shutil.copyfile(graph, home / "birefnet-general-lite.onnx")
    theirs = (rembg, "i", "-m", "birefnet-general-lite", PHOTO, "rembg.png")
    environment = {"U2NET_HOME": str(home), "MODEL_CHECKSUM_DISABLED": "1"}
    runs.append(measured(theirs, folder, environment, None))
    return runs


def measured(
    command: tuple[Any, ...], folder: Path, environment: dict[str, str], limit_bytes: int | None
) -> Run:
    """Run a command; beyond a limit its control group kills it."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    with limited(limit_bytes) as join:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env={**clean, **environment}, preexec_fn=join
        )
        _, status, usage = os.wait4(process.pid, 0)
        took_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    words = " ".join(Path(word).name if os.sep in str(word) else str(word) for word in command)
    peak = usage.ru_maxrss * 1024
    spent_s = usage.ru_utime + usage.ru_stime
    run = Run(words, took_s, spent_s, peak, process.returncode, limit_bytes)
    print(json.dumps(asdict(run)), flush=True)
    return run


def lines(content: dict[str, Any]) -> list[str]:
    """The results as a table."""
    installed = [
        (name, str(row["packages"]), *map(format_bytes, (row["download_bytes"], row["disk_bytes"])))
        for name, row in content["installed"].items()
    ]
    runs = [
        (
            f"`{run['command']}`" + (", in 1 GB" if run["limit_bytes"] else ""),
            format_seconds(run["took_s"]) if run["exit_code"] == 0 else f"exit {run['exit_code']}",
            format_bytes(run["peak_rss_bytes"]),
        )
        for run in content["runs"]
    ]
    return [
        *table_lines(("environment", "packages", "download", "disk"), installed),
        "",
        *table_lines(("command", "time", "peak memory"), runs),
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
