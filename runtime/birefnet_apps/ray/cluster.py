"""Ray started or joined quietly, and how many actors it has room for."""

import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from birefnet_models.base.text import first_line
from birefnet_runtime.errors import ClusterError
from birefnet_runtime.machine import usable_cores
from birefnet_runtime.stderr import caught_stderr

LOCAL_STORE_BYTES = 256 << 20
"""Shared memory of a Ray that is started here: paths and records go through it, no pictures."""
_ANSWER_S = 10
_REFUSED_TOKEN = "InvalidAuthToken"
"""In Ray's answer to a token that is missing or wrong."""
MOST_CPUS = 4
"""Of an actor whose CPUs nobody named: one picture gains little from more."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The processes that open a model each.

    Attributes:
        actors: how many; None: as many as there is room for now.
        cpus: of each; None: those of the smallest machine, but no more than `MOST_CPUS`.
        gpus: of each; None: they run on CPUs.
    """

    actors: int | None = None
    cpus: float | None = None
    gpus: float | None = None


@dataclass(frozen=True, slots=True)
class ActorPlan:
    """A Pool that was compared with the cluster.

    Attributes:
        actors: how many.
        cpus, gpus: what Ray is asked for, for each; one of them.
        threads: of each.
    """

    actors: int
    cpus: float | None
    gpus: float | None
    threads: int


@contextmanager
def connected(address: str | None = None) -> Iterator[None]:
    """Start a Ray on this machine, or join the cluster at an address; leave it after the block.

    A Ray that this process has joined already is used and left as it is. Nothing is sent to Ray's
    makers and no dashboard is started, unless its environment variables say so.

    Args:
        address: `HOST:PORT` of a cluster's head, or `auto`. None starts Ray here, whatever an
            earlier one left behind.

    Raises:
        ClusterError: there is no cluster, or Ray doesn't start.
        MissingExtraError: ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"address": address}
    if address is None:
        options = {
            "address": "local",
            "num_cpus": usable_cores(),
            "object_store_memory": LOCAL_STORE_BYTES,
            "include_dashboard": False,
        }
    else:
        _check_answers(address)
    try:
        with _own_signals(), caught_stderr():  # where it says which log level was set
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        where = f"at {address}" if address else "on this machine"
        raise ClusterError(f"Ray {where} can't be reached: {_why_not(error)}") from error
    try:
        yield
    finally:
        with _signals_held():  # a second Ctrl-C would leave Ray's processes behind
            ray.shutdown()


def _check_answers(address: str) -> None:
    """Check that something listens at an address: for a head that is gone Ray waits for minutes.

    Raises:
        ClusterError: nothing does.
    """
    if address == "auto":
        noted = Path(tempfile.gettempdir(), "ray", "ray_current_cluster")  # by `ray start`
        address = os.environ.get("RAY_ADDRESS") or (noted.read_text() if noted.is_file() else "")
    host, _, port = address.strip().rpartition(":")
    if not host.strip("[]") or not port.isdecimal() or "/" in host:
        return  # Ray says what is wrong with it, or knows other ways
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise ClusterError(f"no Ray cluster answers at {address.strip()}: {reason}") from error


def _why_not(error: BaseException) -> str:
    """Why Ray didn't start. A refused token stands among the causes of an error that names none."""
    cause: BaseException | None = error
    while cause is not None:
        if _REFUSED_TOKEN in str(cause):
            return (
                "it asks for another token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or "
                "RAY_AUTH_TOKEN_PATH, to those of the cluster"
            )
        cause = cause.__cause__ or cause.__context__
    return first_line(error)


def quiet() -> None:
    """Keep Ray Data from drawing bars and telling of each step; lasts for this process."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


def plan_actors(pool: Pool, machines: list[dict[str, float]]) -> ActorPlan:
    """How many actors a cluster has room for, and what each gets.

    Args:
        pool: what is asked for.
        machines: of each machine its `CPU` and `GPU`.

    Raises:
        ClusterError: no machine has room for one, and it wasn't said how many there will be.
    """
    kind, each = ("GPU", pool.gpus) if pool.gpus else ("CPU", pool.cpus)
    counts = [machine[kind] for machine in machines if machine.get(kind, 0) >= 1]
    if each is None:
        each = min([MOST_CPUS, *counts])
    fitting = sum(int(count / each) for count in counts)
    if pool.actors is None and not fitting:
        largest = max(counts, default=0)
        raise ClusterError(
            f"no machine of the cluster has {each:g} {kind}s, the largest has {largest:g}; ask for "
            "fewer for each actor, or say how many actors there will be"
        )
    if not pool.gpus:
        return ActorPlan(pool.actors or fitting, each, None, max(1, int(each)))
    cores = [m.get("CPU", 1) / max(1, int(m["GPU"] / each)) for m in machines if m.get("GPU")]
    return ActorPlan(pool.actors or fitting, None, each, max(1, int(min(cores, default=MOST_CPUS))))


def machines() -> list[dict[str, float]]:
    """CPUs and GPUs of each machine of the cluster."""
    import ray

    nodes: Any = ray.nodes  # untyped
    return [node["Resources"] for node in nodes() if node["Alive"]]


@contextmanager
def _signals_held() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM do nothing inside the block."""
    here = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if here else ()
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what SIGTERM does here, for which Ray sets a handler of its own: it ends the process
    with code 15, whatever is under way."""
    here = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if here else None
    ended = False
    try:
        yield
    except SystemExit as error:  # of Ray's handler, as the signal came while Ray was starting
        ended = here and error.code == signal.SIGTERM
        if not ended:
            raise
    finally:
        if here:
            signal.signal(signal.SIGTERM, handler)
    if ended:
        signal.raise_signal(signal.SIGTERM)
