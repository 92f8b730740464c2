"""`birefnet doctor`."""

import dataclasses
import json
from typing import Any

import click
from birefnet_models.base.text import format_seconds
from birefnet_runtime.session.providers import canonical, execution_provider, unknown_provider
from rich.console import Console
from rich.table import Table

from ..doctor import Diagnosis, ProviderState, check_model, diagnose
from .options import verbose_option
from .terminal import located


@click.command(epilog="Example: birefnet doctor --require cuda")
@click.option("--json", "as_json", is_flag=True, help="Everything found, as JSON.")
@click.option(
    "--require",
    metavar="NAMES",
    help="Providers that must work, as cuda or cuda,coreml: else the exit code is 1.",
)
@click.option(
    "--model",
    "-m",
    metavar="MODEL",
    help="Ask each provider that works for this model's known answer, and say whether it is right.",
)
@verbose_option
def doctor(as_json: bool, require: str | None, model: str | None, verbose: bool) -> None:
    """Say what this machine can run on, by trying it.

    Each provider that is installed runs a tiny graph with a deformable convolution. The exit code
    is 0 if what is required works (by default the CPU), and with --model only if no provider
    answers wrong: fit for a container's health check.
    """
    diagnosis = diagnose(_names(require), verbose=verbose)
    working = [state.name for state in diagnosis.providers if state.verified]
    checks = list(check_model(located(model), working)) if model else []
    if as_json:
        facts = diagnosis_as_dict(diagnosis)
        if model:
            facts["model"] = {"name": model, "answers": list(map(dataclasses.asdict, checks))}
        click.echo(json.dumps(facts, indent=2))
    else:
        _print(diagnosis)
        for check in checks:
            how = f"right ({check.detail})" if check.right else f"wrong: {check.detail}"
            click.echo(f"{model} on {check.provider}: {how}, {format_seconds(check.seconds)}")
    if not diagnosis.healthy or not all(check.right for check in checks):
        raise click.exceptions.Exit(1)


def diagnosis_as_dict(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as plain values, with the conclusions drawn from it."""
    facts = dataclasses.asdict(diagnosis)
    if diagnosis.build is not None:
        facts["build"] |= {
            "folder": str(diagnosis.build.folder),
            "conflict": diagnosis.build.conflict,
        }
    for state in facts["providers"]:
        if state["placement"]:
            state["placement"] = state["placement"]["operators"]
    return facts | {"healthy": diagnosis.healthy, "advice": diagnosis.advice}


def _names(require: str | None) -> list[str]:
    names = [canonical(name) for name in (require or "").split(",") if name.strip()]
    for name in names:
        if execution_provider(name) is None:
            raise click.BadParameter(unknown_provider(name))
    return names


def _print(diagnosis: Diagnosis) -> None:
    console = Console()
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in _facts(diagnosis):
        facts.add_row(name, value)
    console.print(facts)
    console.print()
    providers = Table("provider", "installed", "loadable", "verified", "", box=None)
    for state in diagnosis.providers:
        steps = (state.installed, state.loadable, state.verified)
        providers.add_row(state.name, *("yes" if step else "no" for step in steps), _detail(state))
    console.print(providers)
    console.print()
    console.print(diagnosis.advice, markup=False, highlight=False, soft_wrap=True)


def _facts(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    build, driver, libraries = diagnosis.build, diagnosis.driver, diagnosis.libraries
    package = "not installed"
    if build:
        package = f"{build.version} ({build.package}{f', CUDA {build.cuda}' if build.cuda else ''})"
    gpus = [f"{gpu.name} ({_gigabytes(gpu.memory_bytes)})" for gpu in driver.gpus] if driver else []
    there = [
        f"{name} {version}"
        for name, version in (
            ("CUDA", libraries.cuda),
            ("cuDNN", libraries.cudnn),
            ("TensorRT", libraries.tensorrt),
        )
        if version
    ]
    quota = "" if diagnosis.cpu_quota is None else f", quota {diagnosis.cpu_quota:g}"
    limit = diagnosis.memory_limit_bytes
    return [
        ("onnxruntime", package),
        ("processor", ", ".join((diagnosis.processor.model, *diagnosis.processor.features))),
        ("cores", f"{diagnosis.usable_cores} usable (affinity {diagnosis.affinity_cores}{quota})"),
        (
            "memory",
            f"{_gigabytes(diagnosis.memory_bytes)}, "
            + ("no limit" if limit is None else f"limited to {_gigabytes(limit)}"),
        ),
        (
            "NVIDIA driver",
            f"{driver.version}, up to CUDA {driver.cuda}" if driver else "none found",
        ),
        ("GPUs", ", ".join(gpus) or "none found"),
        ("libraries", ", ".join(there) or "none found"),
    ]


def _detail(state: ProviderState) -> str:
    if state.missing:
        wants = f"; wants {state.wants.describe()}" if state.wants else ""
        return f"missing {', '.join(state.missing)}{wants}"
    if state.placement and state.verified:
        return state.placement.describe()
    return (state.reason or "").partition(";")[0]


def _gigabytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e9:.1f} GB"
