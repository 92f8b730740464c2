"""Pillow's resize inside the graph: as matrix products, and as ONNX's own `Resize`.

`python -m studies.graphs.end_to_end FILE`.

Masks of nano's graph with each around it are compared with the runtime's, on photographs of many
sizes. Then the steps around a network at 1024 x 1024 run on one picture of 12 megapixels, each in a
process of its own, for processor time and memory.
"""

import dataclasses
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
import onnxruntime
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results_file import write_results
from birefnet_export.graph import end_to_end
from birefnet_export.graph.builder import Graph, Value
from birefnet_export.graph.layers import concat
from birefnet_export.graph.resample import BILINEAR, Filter, resize
from birefnet_models.base.text import format_bytes, format_seconds, format_size
from birefnet_models.zoo import embedded_path, find
from birefnet_runtime import Segmenter, SizeWarning
from birefnet_runtime.machine import peak_rss_bytes
from numpy.typing import NDArray
from PIL import Image

from studies.tables import table_lines

PHOTOS = Path(__file__).parents[3] / "examples/photos"
NETWORKS = (192, 512, 1024)
IMAGES = (
    (1, 1), (1, 300), (33, 900), (1000, 50), (333, 500), (640, 427), (1200, 675), (700, 600),
    (1024, 1024), (1500, 2000), (2000, 1500),
)  # fmt: skip
"""(height, width) to which each photograph is brought: odd, long, upright, small and large."""
LARGE = (3000, 4000)


def onnx_resize(
    g: Graph, x: Value, source: Any, target: Any, kind: Filter, parts: Any, finish: Any = None
) -> Value:
    """The same as `resample.resize`, by ONNX's `Resize`: on uint8, on the way back on float32."""
    sizes = concat(g, [g.op("Shape", x, end=2), *target], 0)
    mode = {"mode": "linear"} if kind is BILINEAR else {"mode": "cubic", "cubic_coeff_a": -0.5}
    resized = g.op("Resize", x, None, None, sizes, antialias=1, exclude_outside=1, **mode)
    if kind is BILINEAR:
        return g.op("Cast", resized, to=onnx.TensorProto.FLOAT)
    return finish(g.op("Clip", resized, 0.0, 1.0))  # type: ignore[no-any-return]


RESIZES = {"matrix products": resize, "Resize": onnx_resize}


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Opened on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def pictures(sizes: Sequence[tuple[int, int]]) -> Iterator[NDArray[np.uint8]]:
    """Each photograph at each size."""
    for file in sorted(PHOTOS.glob("*.jpg")):
        with Image.open(file) as photo:
            for height, width in sizes:
                yield np.asarray(photo.convert("RGB").resize((width, height)))


def differences(
    networks: Sequence[int] = NETWORKS, sizes: Sequence[tuple[int, int]] = IMAGES
) -> list[dict[str, Any]]:
    """Levels of 255 between 8-bit masks and the runtime's: the largest, and the worst mean."""
    records = []
    file = embedded_path(find("nano"))
    for network in networks:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SizeWarning)  # compared are steps, not quality
            segmenter = Segmenter(file, size=network, providers="cpu", threads=1)
            expected = [np.rint(segmenter(image) * 255) for image in pictures(sizes)]
        for name, function in RESIZES.items():
            model = onnx.load(file)
            with mock.patch.object(end_to_end, "resize", function):
                end_to_end.enclose(model, (network, network))
            session = session_of(model)
            off = [
                np.abs(session.run(None, {"image": image[None]})[0][0] - mask)
                for image, mask in zip(pictures(sizes), expected, strict=True)
            ]
            worst = {"max": max(map(np.max, off)), "mean": max(map(np.mean, off))}
            records.append({"resize": name, "network": network} | _plain(worst))
            print(records[-1], file=sys.stderr, flush=True)
    return records


def _plain(numbers: dict[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in numbers.items()}


def cost(name: str, size: tuple[int, int], network: int = 1024) -> dict[str, Any]:
    """Processor time and memory of the steps before and behind a network, on one picture."""
    sides = (network, network)
    with mock.patch.object(end_to_end, "resize", RESIZES[name]):
        steps = [session_of(part(20, sides)) for part in (end_to_end._before, end_to_end._behind)]
    image = np.random.default_rng(0).integers(0, 256, (1, *size, 3), dtype=np.uint8)
    logits = np.zeros((1, 1, *sides), np.float32)
    before = peak_rss_bytes() or 0
    times = []
    for _ in range(3):
        started = time.process_time()
        steps[0].run(None, {"image": image})
        steps[1].run(None, {"output_image": logits, "image_size": np.array(size)})
        times.append(time.process_time() - started)
    grown = (peak_rss_bytes() or 0) - before
    return {"resize": name, "size": list(size), "cpu_s": min(times), "grown_bytes": grown}


def markdown_table(stored: dict[str, Any]) -> str:
    """One row a way to resize, from the content of a results file."""
    rows = []
    for each in stored["cost"]:
        off = [d for d in stored["differences"] if d["resize"] == each["resize"]]
        levels = [f"{d['max']:g} ({d['mean']:.2g})" for d in off]
        rows.append(
            [each["resize"], *levels, format_seconds(each["cpu_s"]),
             format_bytes(each["grown_bytes"])]
        )  # fmt: skip
    heads = [f"levels at {d['network']}" for d in off]
    lines = table_lines(("resize", *heads, "processor time", "memory"), rows)
    machine = stored["environment"]
    lines += [
        "",
        "Levels of 255 from the runtime's 8-bit masks of nano: the largest, and the mean of the "
        "worst picture, of two photographs at 11 sizes. Time on one thread and memory: of the "
        f"steps around a network at 1024x1024, for {format_size(stored['cost'][0]['size'])}. "
        f"{machine['processor']}, onnxruntime {machine['packages']['onnxruntime']}.",
    ]
    return "\n".join(lines)


def main(file: str, *one: str) -> None:
    """Measure everything and write the results file; with a resize's name, its cost alone."""
    if one:
        print(json.dumps(cost(one[0], LARGE)))
        return
    costs = [
        json.loads(
            subprocess.run(
                [sys.executable, "-m", "studies.graphs.end_to_end", file, name],
                check=True, capture_output=True, text=True,
            ).stdout
        )
        for name in RESIZES
    ]  # fmt: skip
    results = {
        "environment": dataclasses.asdict(read_environment()),
        "differences": differences(),
        "cost": costs,
    }
    write_results(Path(file), results)
    print(markdown_table(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
