"""ONNX Runtime sessions: opened on what was asked for, and looked at after opening.

ONNX Runtime falls back by itself: where a provider can't start it logs a line, opens the session on
the CPU and lists the provider as available all the same. Here that is an error, unless the caller
named the next one.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any

from ..errors import ProviderError, WrongAnswerError
from ..machine import has_arm_bf16, usable_cores
from ..model.locate import as_model_file
from ..model.size import Size
from .acceptance import accept, fixed_dimensions, open_with_kernels
from .availability import installed_build, is_installed, why_unavailable
from .compiled import CompiledStart
from .ort_options import plan_session
from .ort_session import Anew, OpenSession, start
from .plugins import PLUGINS
from .providers import Cpu, Named, Provider, Providers, TensorRT, parse_providers
from .tensorrt import Rebuilt, open_engine, resolve

MOST_THREADS = 64
"""However few the cores: 1,000 threads on two of them took more than a minute for one image."""

NO_ARM_BF16 = (
    "bf16 on the CPU is for Arm processors that have it, on Linux; "
    "this one computes in float32 only: ask for cpu alone"
)


def open_session(
    file: str | os.PathLike[str],
    *,
    providers: Providers = "cpu",
    cpu: Cpu | None = None,
    threads: int | None = None,
    sizes: Sequence[Size] = (),
    batch: int = 1,
    compiled: bool = False,
    most_bytes: float = inf,
    verbose: bool = False,
    accepted: bool = True,
) -> OpenSession:
    """Open an `.onnx` file.

    Args:
        file: the file, or a model that was found.
        providers: what to run on, the preferred first; each later one is a fallback that may be
            taken if the one before can't run. A name, `"cuda,cpu"`, a record, or a sequence.
        cpu: what the CPU's name stands for, instead of its record's defaults.
        threads: for one operator; by default as many as cores may be used.
        sizes: what it will be run at, the most frequent first: TensorRT builds for these.
        batch: the largest that it will be run with, for TensorRT and for what is held at one size.
        compiled: on the CPU, open the form of the graph that is kept in the cache, or make it.
        most_bytes: that the process may take while it opens; a form that needs more isn't made.
        verbose: let ONNX Runtime's own log lines through to stderr.
        accepted: ask it for the file's known answer, or compare it with the CPU, when it first
            opens here; False where the caller does.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        ModelError: the file is not the one that was recorded, or ONNX Runtime can't load it.
        WrongAnswerError: it can, and what it answers is wrong.
        ProviderError: nothing of what was asked for can run here, or not with so many threads; says
            why and what to install.
        SizeError: the network can't run at one of the sizes.
    """
    try:
        build = installed_build()
    except ModuleNotFoundError as error:
        from birefnet_models.base.extras import missing_extra  # for messages alone

        if missing := missing_extra(error.name):
            raise missing from error
        raise
    model = as_model_file(file)
    model.check()
    cores = usable_cores()
    if threads is not None and threads > max(MOST_THREADS, 4 * cores):
        raise ProviderError(
            f"{threads} threads for {cores} usable cores would only wait for each other; "
            f"give {max(MOST_THREADS, 4 * cores)} at most"
        )

    def open_on(
        provider: Provider,
        engine: Path | None = None,
        input_name: str = "input_image",
        rebuilt: Rebuilt | None = None,
        dimensions: Mapping[str, int] | None = None,
    ) -> OpenSession:
        plan = plan_session(
            provider, threads or cores, engine=engine, input_name=input_name, dimensions=dimensions
        )
        opening: Callable[[], Any] = partial(start, model, provider, plan, verbose=verbose)
        anew: Anew | None = rebuilt
        if rebuilt is not None:
            rebuilt.start = opening
        if compiled and isinstance(provider, Cpu):
            # Forms are made by ONNX Runtime's own kernels, and opened with ours, too.
            opening = anew = CompiledStart(
                model, provider, plan, most_bytes=most_bytes, verbose=verbose
            )
        return OpenSession(opening, provider, plan, tuple(skipped), anew)

    def on_the_cpu() -> OpenSession:
        alone = open_on(replace(cpu or Cpu(), kernels="off"))
        if accepted:
            accept(model, alone, build, lambda: alone)
        return alone

    def open_one(provider: Provider) -> OpenSession:
        if provider.name != "cpu" and (reason := why_unavailable(provider.name, build)):
            raise ProviderError(reason)
        if isinstance(provider, Cpu) and provider.bf16 and not has_arm_bf16():
            raise ProviderError(NO_ARM_BF16)
        if isinstance(provider, TensorRT):
            asked = resolve(model, provider, build, sizes, batch)
            return open_engine(model, provider, build, asked, open_on, on_the_cpu)
        fixed = None
        if isinstance(provider, Named):
            fixed = fixed_dimensions(model, provider, sizes, batch)
        installed = find_spec(PLUGINS["birefnet"].module) is not None
        if isinstance(provider, Cpu) and provider.kernels == "on" and not installed:
            raise ProviderError(
                "cpu:kernels needs birefnet-ort-kernels, which is not installed: in a clone, "
                "pip install ./runtime/birefnet_kernels"
            )
        if isinstance(provider, Cpu) and provider.kernels == "auto" and installed:
            return open_with_kernels(model, provider, threads or cores, build, open_one)
        opened = open_on(provider, dimensions=fixed)
        if accepted:
            accept(model, opened, build, on_the_cpu, next(iter(sizes), None))
        return opened

    skipped: list[tuple[str, str]] = []
    requested = parse_providers(providers, cpu)
    for provider in requested:
        installed = is_installed(provider.name, build)
        if requested.auto and not (installed or build.conflict):
            continue  # nobody asked for it
        try:
            return open_one(provider)
        except ProviderError as error:
            skipped.append((provider.name, str(error)))
            last = error
    is_wrong = isinstance(last, WrongAnswerError)
    if len(skipped) == 1 and is_wrong:
        raise last
    kind = WrongAnswerError if is_wrong else ProviderError
    raise kind("; ".join(f"{name} can't run here: {why}" for name, why in skipped))
