"""Runs with input and output on the device, in buffers that are kept for each shape."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.signature import DTYPES, output_shape
from .ort_options import run_options

KEPT = 4
"""Shapes whose buffers are kept: an input of 4 x 1024 x 1024 has 50 MB."""


@dataclass(frozen=True, slots=True)
class _Buffers:
    """What one shape needs; `binding` refers to both values."""

    input: Any
    output: Any
    binding: Any
    run_options: Any
    graph_id: int


class BoundRunner:
    """One image input, one mask or alpha output, both on a device.

    It gives one output, the same each time. Plain `run` allocates and frees there for every
    call, and a CUDA graph replays on the very buffers that it was recorded with. Threads take
    turns: they share the buffers.

    Args:
        session: an `onnxruntime.InferenceSession`.
        device: `cuda`, or `cpu`.
        device_id: which of them.
        cuda_graph: the session records CUDA graphs: one for each shape.
        run_entries: of RunOptions.
        kept: of how many shapes the buffers are kept; those used longest ago go.
    """

    def __init__(
        self,
        session: Any,
        device: str,
        device_id: int = 0,
        *,
        cuda_graph: bool = False,
        run_entries: Mapping[str, str] | None = None,
        kept: int = KEPT,
    ) -> None:
        self._session = session
        self._device = (device, device_id)
        self._cuda_graph = cuda_graph
        self._run_entries = dict(run_entries or {})
        self._kept = kept
        self._shapes: OrderedDict[tuple[int, ...], _Buffers] = OrderedDict()
        self._made = 0
        self._lock = threading.Lock()
        self._running: Any = None

    def run(self, tensor: NDArray[Any], output: str | None = None) -> NDArray[Any]:
        """The graph's answer: float32, but uint8 where it takes pixels.

        `output` names the output; by default the graph's first.
        """
        with self._lock:
            buffers = self._buffers(tensor.shape, output)
            kind = DTYPES[self._session.get_inputs()[0].type]
            buffers.input.update_inplace(np.ascontiguousarray(tensor, dtype=kind))
            buffers.run_options.terminate = False
            self._running = buffers.run_options
            try:
                self._session.run_with_iobinding(buffers.binding, buffers.run_options)
            finally:
                self._running = None
            buffers.binding.synchronize_outputs()
            # A copy: on the CPU, numpy() shows the buffer itself.
            answer = np.array(buffers.output.numpy())
            return answer if kind == np.uint8 else answer.astype(np.float32, copy=False)

    def interrupt(self) -> None:
        """End the run that is under way in another thread: it fails at its next node."""
        options = self._running
        if options is not None:
            options.terminate = True

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Those whose buffers are there, the one used longest ago first."""
        return list(self._shapes)

    def _buffers(self, shape: tuple[int, ...], output: str | None) -> _Buffers:
        if shape not in self._shapes:
            while len(self._shapes) >= self._kept:
                self._drop(self._shapes.popitem(last=False)[1])
            self._shapes[shape] = self._make(shape, output)
        self._shapes.move_to_end(shape)
        return self._shapes[shape]

    def _make(self, shape: tuple[int, ...], output: str | None) -> _Buffers:
        import onnxruntime

        outputs = self._session.get_outputs()
        mask = next((end for end in outputs if end.name == output), outputs[0])
        ends = (self._session.get_inputs()[0], mask)
        binding = self._session.io_binding()
        values = []
        for end, bind, dimensions in (
            (ends[0], binding.bind_ortvalue_input, shape),
            (ends[1], binding.bind_ortvalue_output, output_shape(shape, ends[0].type)),
        ):
            value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                dimensions, DTYPES[end.type], *self._device
            )
            bind(end.name, value)
            values.append(value)
        self._made += 1
        options = run_options(self._run_entries)
        if self._cuda_graph:
            options.add_run_config_entry("gpu_graph_id", str(self._made))
        return _Buffers(values[0], values[1], binding, options, self._made)

    def _drop(self, buffers: _Buffers) -> None:
        release = getattr(self._session, "release_captured_graph", None)
        if self._cuda_graph and release is not None:
            release(buffers.graph_id)
