"""ONNX Runtime sessions: opened, and looked at after opening."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .cores import usable_cores
from .errors import ModelError, ProviderError
from .extras import missing_extra

CPU = "CPUExecutionProvider"


class Session(Protocol):
    """The part of `onnxruntime.InferenceSession` that a Segmenter uses."""

    def get_inputs(self) -> Sequence[Any]: ...
    def get_outputs(self) -> Sequence[Any]: ...
    def get_modelmeta(self) -> Any: ...
    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, NDArray[np.float32]]
    ) -> Sequence[Any]: ...


def open_session(
    path: Path, *, providers: Sequence[str] = (CPU,), threads: int | None = None
) -> Session:
    """Open an `.onnx` file.

    Args:
        path: the file.
        providers: ONNX Runtime's names of the execution providers, the preferred first.
        threads: for one operator; by default as many as cores may be used.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        ModelError: ONNX Runtime can't load the file.
        ProviderError: the session got other providers than those asked for.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        if missing := missing_extra(error.name):
            raise missing from error
        raise

    available = onnxruntime.get_available_providers()
    _require(providers, available, "not in the installed onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only: what matters comes as an exception
    # A pattern is kept for each input shape, and shapes vary here.
    options.enable_mem_pattern = False
    try:
        session = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=list(providers)
        )
    except onnxruntime_errors() as error:
        raise ModelError(f"{path}: ONNX Runtime can't load it: {first_line(error)}") from error
    # ONNX Runtime falls back to the CPU by itself, so what was asked for proves nothing.
    _require(providers, session.get_providers(), "could not be started")
    checked: Session = session
    return checked


def onnxruntime_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: a dozen classes without a base of their own."""
    try:
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ModuleNotFoundError:
        return ()
    found = (getattr(state, name) for name in dir(state))
    return tuple(kind for kind in found if isinstance(kind, type) and issubclass(kind, Exception))


def first_line(error: Exception) -> str:
    """The first line of a message; ONNX Runtime's go on with pages of C++."""
    return str(error).strip().partition("\n")[0]


def _require(asked: Sequence[str], got: Sequence[str], problem: str) -> None:
    missing = [name for name in asked if name not in got]
    if missing:
        raise ProviderError(f"{', '.join(missing)} {problem}; there are: {', '.join(got)}")
