"""What a model takes of memory, measured: of files that don't say it, and with our own kernels.

Such a model is run once, in a process of its own that ends itself before it takes more than it may:
at a size of which tensors are a quarter of those at the trained one, or at its only size. What it
took is noted in the cache.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from birefnet_models.base.errors import BirefnetError, CacheError
from birefnet_models.base.store import Store
from birefnet_models.base.text import format_bytes

from .errors import MemoryLimitError, ModelError
from .machine import peak_rss_bytes, release_memory, rss_bytes
from .model.locate import ModelFile, as_model_file
from .session.judge import Asked
from .session.memory import PACKING, SETTINGS, Footprint, stated_footprint, weights_of
from .session.open import open_session
from .session.plugins import PLUGINS
from .session.providers import Cpu, Providers, parse_providers
from .stderr import ticking

FOOTPRINTS = Store("footprints", limit_bytes=4 << 20)
TRIAL_FORMAT = 2
"""Raised when what was measured should be measured again."""
BEYOND = 75
"""Exit code of a trial that took as much as it may."""
MOST_SIDE = 512
"""Of a trial, where the size is free."""
TRIAL_MARGIN = 1.1
"""How much more is reckoned with than was measured."""
_WATCH_S = 0.002
_PROGRAM = "import sys; from birefnet_runtime.trial import main; main(sys.argv[1:])"


def footprint_of(file: ModelFile, limit_bytes: float, *, kernels: bool = False) -> Footprint:
    """What is known of a model's memory: what it says, else what a trial took.

    Args:
        file: the model.
        limit_bytes: that this process and a trial may take together.
        kernels: it will run on our own kernels, with which it takes less than it says.

    Raises:
        MemoryLimitError: the trial took as much.
        ModelError: the file can't be read, or the model fails to run.
    """
    stated = stated_footprint(file)
    if stated is not None and not kernels:
        return stated
    key = {"model": file.sha256, "kernels": kernels, "format": TRIAL_FORMAT}
    with suppress(CacheError, OSError):
        if noted := FOOTPRINTS.find(key):
            return _footprint(file, noted.facts, stated)
    facts = _try(file, limit_bytes, kernels)
    with suppress(CacheError, OSError):
        FOOTPRINTS.note(key, facts)
    return _footprint(file, facts, stated)


def takes_kernels(file: ModelFile, providers: Providers) -> bool:
    """Whether our own kernels are to run a file's DeformConv, on the CPU that is asked for.

    Where memory is limited they run it even where they are slower: what is reckoned with must be
    what runs.
    """
    if find_spec(PLUGINS["birefnet"].module) is None:
        return False
    has_node = any(node.op_type == "DeformConv" for node in file.graph.nodes)
    asked = parse_providers(providers)
    return has_node and any(isinstance(one, Cpu) and one.kernels != "off" for one in asked)


def _footprint(file: ModelFile, facts: Any, stated: Footprint | None) -> Footprint:
    weights_bytes, external = weights_of(file)
    height, width = facts["trained_size"]
    return Footprint(
        weights_bytes,
        external,
        bytes_per_pixel=TRIAL_MARGIN * facts["bytes_per_pixel"],
        trained_size=(height, width),
        size_multiple=facts["size_multiple"],
        fixed=facts["fixed"],
        attention=stated.attention if stated else (0.0, 0.0),
    )


def _try(file: ModelFile, limit_bytes: float, kernels: bool) -> dict[str, Any]:
    """Run a trial; its facts."""
    most = limit_bytes - (rss_bytes() or 0)
    how = "on" if kernels else "off"
    command = [sys.executable, "-c", _PROGRAM, str(file.path.absolute()), str(int(most)), how]
    with ticking(f"measuring what {file.path.name} takes of memory, once"):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode in (BEYOND, -9):
        raise MemoryLimitError(
            f"{file.path} doesn't fit in {format_bytes(limit_bytes)}: it doesn't say how much "
            f"memory it needs, and a trial took more than {format_bytes(max(0, most))}; raise the "
            "limit, or export the model with `birefnet export`"
        )
    lines = (done.stdout.splitlines() or [""])[-1]
    with suppress(ValueError):
        facts: dict[str, Any] = json.loads(lines)
        if "error" not in facts:
            return facts
        raise ModelError(f"{file.path}: {facts['error']}")
    reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    raise ModelError(
        f"{file.path}: it doesn't say how much memory it needs, and a trial failed: {reason}"
    )


def main(arguments: Sequence[str]) -> None:
    """Measure a model in this process, and print what it took as JSON.

    Args:
        arguments: the file, the bytes that this process may take, and whether our own kernels are
            `on` or `off`.
    """
    path, most, kernels = arguments
    threading.Thread(target=_end_beyond, args=(int(most),), daemon=True).start()
    try:
        facts = measure(as_model_file(path), kernels=kernels == "on")
    except BirefnetError as error:
        facts = {"error": str(error)}
    sys.stdout.write(json.dumps(facts) + "\n")


def measure(model: ModelFile, *, kernels: bool = False) -> dict[str, Any]:
    """Run a model once, with our own kernels or without, and say what its tensors took.

    Raises:
        ModelError: it fails to run.
    """
    cpu = replace(SETTINGS["low"], kernels="on" if kernels else "off")
    session = open_session(model, providers=cpu)
    release_memory()
    asked = Asked.of(session, model)
    facts = asked.metadata
    size = facts.trained_size if facts.fixed else _small(facts.trained_size, facts.size_multiple)
    before = _taken()
    asked.answer(size, [(64, 64)] * (asked.signature.batch or 1))
    pixels = size[0] * size[1] * (asked.signature.batch or 1)
    return {
        "bytes_per_pixel": max(0, _taken() - before) / pixels / PACKING["low"],
        "trained_size": facts.trained_size,
        "size_multiple": facts.size_multiple,
        "fixed": facts.fixed,
        "tried_at": size,
    }


def _small(trained_size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """Half the sides of the trained size, in multiples, and no more than `MOST_SIDE`."""
    height, width = (
        max(1, min(MOST_SIDE, side // 2) // multiple) * multiple for side in trained_size
    )
    return height, width


def _taken() -> int:
    """Bytes that this process holds; where the system doesn't say, those that it held at most."""
    return rss_bytes() or peak_rss_bytes() or 0


def _end_beyond(most: int) -> None:
    """End this process at once when it holds more."""
    while True:
        if _taken() > most:
            os._exit(BEYOND)
        time.sleep(_WATCH_S)
