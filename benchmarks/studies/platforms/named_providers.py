"""What a provider without a record of its own answers: its masks against the CPU's, and which nodes
it runs.

`python -m studies.platforms.named_providers FILE PROVIDER SIZE DEVICE` adds what `nano` gives on
PROVIDER (in the words of `birefnet cutout --provider`) for the photographs in examples/photos.
DEVICE is what it runs on, in words. Nothing is timed: WebGPU on SwiftShader, Chromium's Vulkan on
the CPU, is that provider's code on no GPU:

    pip install onnxruntime-webgpu '.[bench]'
    VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json \\
      python -m studies.platforms.named_providers FILE webgpu 64 'SwiftShader of Chromium 156'
"""

import dataclasses
import json
import re
import sys
import tempfile
import warnings
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import write_results
from birefnet_runtime import Named, ProviderError, Segmenter
from birefnet_runtime.model.locate import find_model
from birefnet_runtime.session.acceptance import fixed_dimensions
from birefnet_runtime.session.ort_options import plan_session
from birefnet_runtime.session.ort_session import OpenSession, start
from birefnet_runtime.session.providers import parse_providers

PHOTOS = sorted((Path(__file__).parents[3] / "examples/photos").glob("*.jpg"))


def nodes_run(provider: Named, size: int) -> dict[str, dict[str, int]]:
    """Operators by execution provider as ONNX Runtime's profile of one run has them: nodes that
    layout changes made anew are there, which the assignment that a session tells leaves out."""
    model = find_model("nano")
    fixed = fixed_dimensions(model, provider, [size], 1)
    plan = plan_session(provider, threads=1, dimensions=fixed)
    with tempfile.TemporaryDirectory() as folder:
        profiling = {"enable_profiling": True, "profile_file_prefix": f"{folder}/profile"}
        plan = dataclasses.replace(plan, attributes={**plan.attributes, **profiling})
        session = OpenSession(partial(start, model, provider, plan, verbose=False), provider, plan)
        session.run(None, {session.get_inputs()[0].name: np.zeros((1, 3, size, size), np.float32)})
        events = json.loads(Path(session._session.end_profiling()).read_text())
    counted: dict[str, Counter[str]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            facts = event["args"]
            operator = re.sub(r"_\d+_\d+$", "", facts["op_name"])  # parts have a number each
            counted.setdefault(facts["provider"], Counter())[operator] += 1
    return {name: dict(operators.most_common()) for name, operators in counted.items()}


def differences(ours: Segmenter, cpu: Segmenter) -> dict[str, dict[str, float]]:
    """By photograph: the largest and the mean difference of the alphas, in levels of 255."""
    found = {}
    for photo in PHOTOS:
        off = np.abs(ours(photo) - cpu(photo)) * 255
        found[photo.name] = {"largest": float(off.max()), "mean": float(off.mean())}
    return found


def heard(provider: Named) -> dict[str, str] | str:
    """What a session says that it runs with, if it is given an option that there is none of; or
    what it is refused with."""
    model = find_model("nano")
    options = {**provider.options, "no_such_option": "1"}
    plan = plan_session(dataclasses.replace(provider, options=options), threads=1)
    try:
        session = start(model, provider, plan, verbose=False)
    except ProviderError as error:
        return str(error)
    return dict(session.get_provider_options()[plan.providers[0][0]])


def measured(provider: Named, text: str, size: int) -> dict[str, Any]:
    """Differences and nodes, or why the provider is refused."""
    cpu = Segmenter("nano", providers="cpu", size=size, threads=1)
    try:
        ours = Segmenter("nano", providers=text, size=size, threads=1)
    except ProviderError as error:
        return {"refused": str(error)}
    assert ours.session_info
    placement = ours.session_info.placement
    return {
        "levels_of_255": differences(ours, cpu),
        "nodes_assigned": {name: placement.nodes(name) for name in placement.operators}
        if placement
        else None,
        "nodes_run": nodes_run(provider, size),
        "says_of_an_unknown_option": heard(provider),
    }


def main(file: Path, text: str, size: int, device: str) -> None:
    warnings.simplefilter("ignore")  # what they say of nodes and size is in the file
    (provider,) = parse_providers(text)
    if not isinstance(provider, Named):
        raise SystemExit(f"{text} has a record of its own")
    entry: dict[str, Any] = {
        "device": device,
        "size": [size, size],
        "threads": 1,
        "environment": dataclasses.asdict(read_environment()),
        **measured(provider, text, size),
    }
    results = json.loads(file.read_text()) if file.exists() else {}
    write_results(file, results | {text: entry})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])
