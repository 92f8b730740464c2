"""From models and a grid of sizes, batches and threads to configurations, by workload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TypeAlias

from birefnet_models.base.onnx_file import read_onnx

from ..errors import BenchmarkError
from .configuration import Configuration


@dataclass(frozen=True, slots=True)
class Setup:
    """One way to run a model, at any size, on one or more providers."""

    backend: str
    variant: str
    precision: str
    providers: tuple[str, ...]
    source: str
    name: str = ""
    """The file's name, to tell two apart that are otherwise alike."""
    problem: str | None = None
    """Why it can't run; its configurations then have this as their result."""


@dataclass(frozen=True, slots=True)
class BenchModel:
    """A model with all ways to run it; the first is the baseline."""

    name: str
    setups: tuple[Setup, ...]
    checkpoint: Path | None
    """For counting its multiply-adds."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Every combination of these is measured."""

    sizes: tuple[tuple[int, int], ...]
    """(height, width) each."""
    batches: tuple[int, ...]
    threads: tuple[int, ...]


Workload: TypeAlias = dict[Configuration, str | None]
"""Configurations that are compared with one another, the baseline first; with the reason why one
can't run, or None."""


def pytorch_setup(mode: str, checkpoint: Path) -> Setup:
    """`eager`, `compile` or `bf16`, each also as `MODE:cuda` or `MODE:cuda:1`.

    Raises:
        BenchmarkError: another mode.
    """
    name, _, device = mode.partition(":")
    if name not in ("eager", "compile", "bf16") or (device and not device.startswith("cuda")):
        raise BenchmarkError(
            f"{mode!r}: PyTorch runs as eager, compile or bf16, on a GPU as eager:cuda"
        )
    return Setup(
        backend="pytorch",
        variant="compile" if name == "compile" else "eager",
        precision="bf16" if name == "bf16" else "fp32",
        providers=(device or "cpu",),
        source=str(checkpoint),
    )


def graph_setup(file: Path, providers: Sequence[str]) -> Setup:
    """A graph as it is: its lowering and precision are read from the file's metadata.

    Raises:
        OnnxFileError: it is no ONNX file.
    """
    graph = read_onnx(file)
    half = any(port.dtype == "float16" for port in graph.inputs)
    return Setup(
        backend="onnxruntime",
        variant=graph.properties.get("birefnet.lowering", "as given"),
        precision=graph.properties.get("birefnet.precision", "fp16" if half else "fp32"),
        providers=tuple(providers),
        source=str(file),
        name=file.stem,
    )


def workloads_of(model: BenchModel, grid: Grid) -> tuple[Workload, ...]:
    """The configurations of a model, workload by workload.

    Raises:
        BenchmarkError: two setups can't be told apart.
    """
    setups = _with_distinct_names(model.setups)
    return tuple(
        {
            Configuration(
                model=model.name,
                backend=setup.backend,
                variant=setup.variant,
                precision=setup.precision,
                provider=provider,
                size=size,
                batch=batch,
                threads=threads,
                source=setup.source,
                baseline=setup is setups[0] and provider == setup.providers[0],
            ): setup.problem
            for setup in setups
            for provider in setup.providers
        }
        for size, batch, threads in product(grid.sizes, grid.batches, grid.threads)
    )


def _with_distinct_names(setups: Sequence[Setup]) -> list[Setup]:
    """Setups that differ in their files alone get the file's name in their variant."""
    alike = Counter((setup.backend, setup.variant, setup.precision) for setup in setups)
    distinct = [
        replace(setup, variant=f"{setup.name}, {setup.variant}")
        if setup.name and alike[setup.backend, setup.variant, setup.precision] > 1
        else setup
        for setup in setups
    ]
    requested = Counter(
        f"{setup.backend} {setup.variant} {setup.precision} {provider}"
        for setup in distinct
        for provider in setup.providers
    )
    if twice := [name for name, count in requested.items() if count > 1]:
        raise BenchmarkError(f"asked twice for {twice[0]}")
    return distinct
