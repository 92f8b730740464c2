"""The server under load: `python -m studies.service.serve FILE --model MODEL.onnx`.

Requests a second and how long they take, at 1, 4 and 16 clients and with more than there is room
for, beside direct calls and beside `rembg s` on the same model file; how the memory moves over
10,000 requests, good ones and such as end badly; and what 64 clients do to it, most of which mean
no good. Every answer is compared
with the one that the picture always gets. Each part can be measured by itself (`--part`) and goes
into the file beside the others.
"""

import contextlib
import dataclasses
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import write_results
from birefnet_models.base.text import format_bytes, format_seconds, format_size
from birefnet_runtime import Segmenter
from birefnet_runtime.machine import peak_rss_bytes

from studies.service.serve_bad_paths import measure_bad_paths
from studies.service.serve_load import (
    Crowd,
    Tally,
    Target,
    jpeg,
    percentile,
    run_clients,
    send_good,
)
from studies.service.serve_processes import Plan, Server, ours, rembgs, until
from studies.tables import table_lines

PHOTO_SIDES = (1600, 1067)
"""(width, height) of the JPEG that is sent."""
CLIENTS = (1, 4, 16)
OVERLOAD_CLIENTS = 64
HEALTH_PAUSE_S = 0.02
DRIFT_SIDE = 160
"""Of the picture in the drift part, whose requests are to be many and not large."""
PARTS = ("direct", "ours", "rembg", "overload", "drift", "bad_paths")
_SMALL = ("drift", "bad_paths")
"""Parts with many requests to nano, at `DRIFT_SIDE`."""


def summary(tally: Tally, wall_s: float) -> dict[str, Any]:
    """What clients saw, as the results file has it."""
    return {
        "per_s": len(tally.seconds) / wall_s,
        "p50_s": percentile(tally.seconds, 0.5),
        "p99_s": percentile(tally.seconds, 0.99),
        "outcomes": dict(sorted(tally.outcomes.items())),
        "wrong": len(tally.wrong),
    }


def measure_direct(plan: Plan) -> dict[str, Any]:
    """Calls in a process of their own, one after another: what a server adds to is this."""
    call = "import sys; from studies.service.serve import direct; direct(*sys.argv[1:])"
    arguments = (str(plan.model), str(plan.size), str(plan.threads), str(plan.seconds))
    done = subprocess.run(
        [sys.executable, "-c", call, *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def direct(model: str, size: str, threads: str, seconds: str) -> None:
    """Cut the picture out again and again, and print how it went; in a process of its own."""
    segmenter = Segmenter(model, size=int(size), threads=int(threads))
    photo, tally = jpeg(PHOTO_SIDES), Tally()
    segmenter.compose(photo).save(io.BytesIO())
    started = time.perf_counter()
    while time.perf_counter() - started < float(seconds):
        begun = time.perf_counter()
        segmenter.compose(photo).save(io.BytesIO())
        tally.add("call", "done", right=True, seconds=time.perf_counter() - begun)
    result = summary(tally, time.perf_counter() - started)
    print(json.dumps({**result, "peak_rss_bytes": peak_rss_bytes()}))


def measure_clients(plan: Plan, server: Server) -> dict[str, Any]:
    """Good clients only, more and more of them."""
    body = server.target.form(jpeg(PHOTO_SIDES))
    status, expected = server.target.post(body)
    assert status == 200, expected[:200]
    results: dict[str, Any] = {}
    for count in CLIENTS:
        tally = Tally()
        wall_s = run_clients(
            count,
            plan.seconds,
            lambda _, tally=tally: send_good(server.target, body, expected, tally),  # type: ignore[misc]
        )
        results[f"{count} clients"] = summary(tally, wall_s)
    return {**results, "peak_rss_bytes": server.peak_rss_bytes()}


def measure_ours(plan: Plan) -> dict[str, Any]:
    """Our server with good clients; with 64 of them, four times what its queue takes, too."""
    with ours(plan, str(plan.model), plan.size) as server:
        results = measure_clients(plan, server)
        body, tally = server.target.form(jpeg(PHOTO_SIDES)), Tally()

        def act(_: object) -> None:
            send_good(server.target, body, None, tally)
            time.sleep(0.1)

        wall_s = run_clients(OVERLOAD_CLIENTS, plan.seconds, act)
        return {
            **results,
            f"{OVERLOAD_CLIENTS} clients": summary(tally, wall_s),
            "peak_rss_bytes": server.peak_rss_bytes(),
        }


def measure_rembg(plan: Plan) -> dict[str, Any]:
    """rembg's server with good clients."""
    with rembgs(plan) as server:
        version = subprocess.run([plan.rembg, "--version"], capture_output=True, text=True)
        return {"version": version.stdout.strip(), **measure_clients(plan, server)}


@contextlib.contextmanager
def watched(port: int) -> Iterator[dict[str, Any]]:
    """Ask for a server's health all the time; what was seen is there when the block has ended.

    From a process of its own: here, the clients' threads would wait for each other.
    """
    call = "import sys; from studies.service.serve import watch; watch(int(sys.argv[1]))"
    process = subprocess.Popen(
        [sys.executable, "-c", call, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    seen: dict[str, Any] = {}
    try:
        yield seen
        seen.update(json.loads(process.communicate(b"")[0]))
    finally:
        process.kill()
        process.wait()


def watch(port: int) -> None:
    """Ask for the health until standard input ends, and print how long answers took."""
    target, tally, over = Target(port), Tally(), threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait).start()
    started = time.perf_counter()
    while not over.is_set():
        begun = time.perf_counter()
        try:
            status = target.get("/health")[0]
        except OSError as error:
            tally.add("health", type(error).__name__, right=False)
            continue
        took = time.perf_counter() - begun
        tally.add("health", status, right=status == 200, seconds=took)
        time.sleep(HEALTH_PAUSE_S)
    result = summary(tally, time.perf_counter() - started)
    print(json.dumps({**result, "longest_s": max(tally.seconds)}))


def measure_overload(plan: Plan) -> dict[str, Any]:
    """64 clients, most of them bad, while its health is asked for all the time."""
    with ours(plan, str(plan.model), plan.size) as server:
        body = server.target.form(jpeg(PHOTO_SIDES))
        status, expected = server.target.post(body)
        assert status == 200, expected[:200]
        tally = Tally()
        with watched(server.target.port) as health:
            crowd = Crowd(server.target, body, expected, tally)
            wall_s = run_clients(OVERLOAD_CLIENTS, plan.seconds, crowd.act)
        until(lambda: b"birefnet_queue_depth 0.0" in server.target.get("/metrics")[1])
        afterwards = server.target.post(body) == (200, expected)
        _, traceback, first = server.log.read_text().partition("Traceback")
        print(traceback + first[:4000], file=sys.stderr)  # for whoever mends it
        return {
            "clients": OVERLOAD_CLIENTS,
            **summary(tally, wall_s),
            "wrong_kinds": sorted(set(tally.wrong)),
            "health": health,
            "tracebacks": server.log.read_text().count("Traceback"),
            "right_afterwards": afterwards,
            "peak_rss_bytes": server.peak_rss_bytes(),
        }


def measure_drift(plan: Plan) -> dict[str, Any]:
    """Resident memory over many small requests to `nano`, by the median of each tenth."""
    with ours(plan, "nano", DRIFT_SIDE) as server:
        body = server.target.form(jpeg((DRIFT_SIDE, DRIFT_SIDE)))
        expected = server.target.post(body)[1]
        tally, samples = Tally(), []
        started = time.perf_counter()
        for number in range(plan.requests):
            send_good(server.target, body, expected, tally)
            if number % max(1, plan.requests // 1000) == 0:
                samples.append(server.rss_bytes())
        result = summary(tally, time.perf_counter() - started)
        tenths = [int(np.median(part)) for part in np.array_split(np.array(samples), 10)]
        return {
            "requests": plan.requests,
            **result,
            "rss_bytes_by_tenth": tenths,
            "drift": tenths[-1] / tenths[1] - 1,  # after the first tenth, which warms up
        }


MEASURE: dict[str, Callable[[Plan], dict[str, Any]]] = {
    "direct": measure_direct,
    "ours": measure_ours,
    "rembg": measure_rembg,
    "overload": measure_overload,
    "drift": measure_drift,
    "bad_paths": lambda plan: measure_bad_paths(plan, DRIFT_SIDE),
}


def markdown_table(stored: dict[str, Any]) -> str:
    """A row for each server and number of clients, and the other parts in words."""
    rows = []
    for part, name in (
        ("direct", "direct calls"),
        ("ours", "`birefnet serve`"),
        ("rembg", "rembg"),
    ):
        measured = stored.get(part, {})
        trials = {"1": measured} if part == "direct" and measured else {}
        trials |= {key.split()[0]: each for key, each in measured.items() if "clients" in key}
        for clients, each in sorted(trials.items(), key=lambda trial: int(trial[0])):
            refused = each["outcomes"].get("good 503", 0)
            rows.append(
                [
                    name,
                    clients,
                    f"{each['per_s']:.3g}",
                    format_seconds(each["p50_s"]),
                    format_seconds(each["p99_s"]),
                    str(refused or ""),
                    format_bytes(measured["peak_rss_bytes"]),
                ]
            )
    heads = ("", "clients", "pictures a second", "p50", "p99", "refused (503)", "peak memory")
    lines = table_lines(heads, rows)
    machine, ours = stored["environment"], stored["ours"]
    lines += [
        "",
        f"{ours['model']} at {ours['size']}, {ours['threads']} threads, a JPEG of "
        f"{format_size(ours['photo'][::-1])}. {machine['processor']}, {machine['cores']} cores, "
        f"onnxruntime {machine['packages']['onnxruntime']}"
        + (f"; {stored['rembg']['version']}." if "rembg" in stored else "."),
    ]
    crowd = stored["overload"]
    answers = sum(crowd["outcomes"].values())
    lines += [
        "",
        f"{crowd['clients']} clients, most of them bad (bombs of 88 megapixels, slow senders, "
        f"hang-ups, random bytes): {answers} requests, {crowd['wrong']} wrong answers, "
        f"{crowd['tracebacks']} tracebacks, peak memory {format_bytes(crowd['peak_rss_bytes'])}; "
        f"meanwhile `/health` took {format_seconds(crowd['health']['p99_s'])} at p99.",
    ]
    if drift := stored.get("drift"):
        moved = f"{100 * drift['drift']:+.2g}%"
        lines[-1] += f" {drift['requests']:,} requests moved the memory by {moved}."
    if bad := stored.get("bad_paths"):
        moved = f"{100 * bad['drift']:+.2g}%"
        lines[-1] += (
            f" {bad['requests']:,} requests, most of which end badly (refused, cut, too late, "
            f"given up), moved it by {moved}, to {format_bytes(bad['rss_bytes_by_tenth'][-1])}."
        )
    return "\n".join(lines)


def label(model: Path) -> str:
    """What to call a model's file: an export's is named by its directory's."""
    file = model.absolute()
    return file.parts[-3] if file.parts[-2:] == ("onnx", "model.onnx") else file.name


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--model",
    type=click.Path(exists=True, path_type=Path),
    default=Path("models/birefnet_models/embedded/nano.onnx"),
    show_default=True,
    help="An export that takes any size. Drift and bad_paths run nano, whatever is given.",
)
@click.option("--size", type=int, default=1024, show_default=True)
@click.option("--threads", type=int, default=2, show_default=True)
@click.option("--seconds", type=float, default=60.0, show_default=True, help="Of each trial.")
@click.option(
    "--requests", type=int, default=10_000, show_default=True, help="Of drift and bad_paths."
)
@click.option(
    "--rembg",
    type=click.Path(path_type=Path),
    default=Path(".interop/venv/bin/rembg"),
    show_default=True,
)
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="By default all.")
def main(
    file: Path,
    model: Path,
    size: int,
    threads: int,
    seconds: float,
    requests: int,
    rembg: Path,
    parts: tuple[str, ...],
) -> None:
    """Measure the server, part by part, and write each into the results file."""
    plan = Plan(model.absolute(), size, threads, seconds, requests, rembg)
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    environment = dataclasses.asdict(read_environment())
    if not parts or "environment" not in results:
        results["environment"] = environment
    for part in parts or PARTS:
        print(f"{part} …", file=sys.stderr)
        measured = MEASURE[part](plan)
        results[part] = {
            "model": "nano" if part in _SMALL else label(model),
            "size": DRIFT_SIDE if part in _SMALL else size,
            "threads": threads,
            "photo": [DRIFT_SIDE, DRIFT_SIDE] if part in _SMALL else PHOTO_SIDES,
            "seconds": seconds,
            **measured,
        }
        if environment != results["environment"]:  # where the others were measured
            results[part]["environment"] = environment
        write_results(file, results)
        print(json.dumps({part: results[part]}, indent=1))


if __name__ == "__main__":
    main()
