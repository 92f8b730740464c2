"""Pickles of `torch.save` as data: nothing that they name is imported or called.

Out of a pickle come tensors as `StoredTensor`, objects of a class as the dict of their attributes,
and whole modules as their state dict. So a checkpoint may hold whatever a training script keeps
beside its weights.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
import sys
from _compat_pickle import IMPORT_MAPPING
from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, BinaryIO, ClassVar, NamedTuple

import numpy as np
from birefnet_models.base.text import printable
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from ..errors import CheckpointError
from . import dtypes
from .dtypes import Dtype
from .state_dict import MOST_NAMES, StoredTensor

ByteArray = NDArray[np.uint8]
_DTYPES = {
    "DoubleStorage": dtypes.FLOAT64,
    "FloatStorage": dtypes.FLOAT32,
    "HalfStorage": dtypes.FLOAT16,
    "BFloat16Storage": dtypes.BFLOAT16,
    "LongStorage": dtypes.INT64,
    "IntStorage": dtypes.INT32,
    "ShortStorage": dtypes.INT16,
    "CharStorage": dtypes.INT8,
    "ByteStorage": dtypes.UINT8,
    "BoolStorage": dtypes.BOOL,
    "UntypedStorage": dtypes.UINT8,
}
_VIEWED_DTYPES = {
    "torch.float8_e4m3fn": dtypes.FLOAT8_E4M3FN,
    "torch.float8_e5m2": dtypes.FLOAT8_E5M2,
}
"""Types without a storage class of their own."""
_DATA = re.compile(
    r"torch\.(_utils|_tensor|storage)\.\w+|torch\.(Size|device|serialization\._get_layout)"
    r"|numpy\.(dtype|ndarray|_?core\.(multiarray|numeric)\.\w+)|numpy\.random\._pickle\.\w+"
    r"|(collections|datetime|decimal|fractions|pathlib|uuid)\.[A-Z]\w+|pathlib\._local\.\w+"
    r"|collections\.(defaultdict|deque)|_codecs\.encode|copyreg\._reconstructor"
    r"|builtins\.(set|frozenset|bytearray|complex|slice|range|dict|list|object)"
)
"""Functions and classes of the standard library, torch and numpy that pickles call for data."""


class Bounded:
    """The first bytes of a stream; a number in a pickle can't ask for more than there are."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream = stream
        self._left = most

    def read(self, size: int) -> bytes:
        return self._counted(self._stream.read(min(size, self._left)))

    def readline(self) -> bytes:
        return self._counted(self._stream.readline(self._left))

    def _counted(self, content: bytes) -> bytes:
        self._left -= len(content)
        return content


class _Global(NamedTuple):
    """A function or class that a pickle names; it is never imported."""

    name: str


class _Object(dict[Any, Any]):
    """An object of a class that a pickle names, as the dict of its attributes and items."""

    def append(self, item: object) -> None:
        """Items of subclasses of list and set are left out: no checkpoint needs them."""

    add = append

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)  # in sets, such as those of enumerations


class Storage(NamedTuple):
    """What a tensor's values lie in, beside the pickle."""

    key: str
    dtype: Dtype
    numel: int
    """Values in it."""

    @property
    def size(self) -> int:
        """In bytes."""
        return self.numel * self.dtype.itemsize


class Unpickler(pickle._Unpickler):
    """A pickle as data: what it would call makes a tensor, a dict, or stays a description.

    Derived from the standard library's unpickler in Python, whose steps are replaced where they
    import, call or set anything.

    Args:
        stream: what is unpickled.
        read_part: reads bytes of a storage, from one on and so many: uint8, contiguous.
    """

    dispatch: ClassVar[Any] = {**pickle._Unpickler.dispatch}
    memo: dict[int, Any]
    stack: list[Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]

    def __init__(
        self, stream: io.BytesIO | Bounded, read_part: Callable[[Storage, int, int], ByteArray]
    ) -> None:
        super().__init__(stream, encoding="latin-1")
        self._read_part = read_part
        self.item_sizes: dict[str, int] = {}
        """Bytes of one value, by the storages' keys."""

    def load(self) -> Any:
        """The next pickle of the stream."""
        self.memo.clear()
        return super().load()

    def find_class(self, module: str, name: str) -> Any:
        # Up to protocol 2 modules have the names of Python 2, as `commands` for `subprocess`.
        return _Global(f"{IMPORT_MAPPING.get(module, module)}.{name}")

    def persistent_load(self, pid: Any) -> Storage:
        _, kind, key, _, count, *views = pid
        dtype = _DTYPES.get(kind.name.rpartition(".")[2])
        if dtype is None:
            raise CheckpointError(f"holds tensors of {printable(kind.name)}, which no BiRefNet has")
        if any(views):
            raise CheckpointError("holds views of storages, as torch before 0.4 saved them")
        self.item_sizes[key] = dtype.itemsize
        return Storage(key, dtype, count)

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], arguments)

    def load_newobj(self) -> None:
        del self.stack[-1]
        self.stack[-1] = _Object()

    def load_newobj_ex(self) -> None:
        del self.stack[-2:]
        self.stack[-1] = _Object()

    def load_build(self) -> None:
        state = self.stack.pop()
        made = self.stack[-1]
        if isinstance(state, tuple) and len(state) == 2:  # and those in slots
            state = {**(state[0] or {}), **(state[1] or {})}
        if isinstance(made, _Object) and isinstance(state, dict):
            made.update(_module_tensors(state) if "_parameters" in state else state)

    def load_bytearray8(self) -> None:
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(size)))

    def _instantiate(self, kind: _Global, arguments: Any) -> None:
        self.append(self._call(kind, tuple(arguments)))

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.NEWOBJ[0]] = load_newobj
    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex
    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8

    def _call(self, function: _Global, arguments: tuple[Any, ...]) -> Any:
        """What a call is known to make, without calling."""
        match function.name:
            case "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2":
                return self._tensor(*arguments[:4])
            case "torch._utils._rebuild_tensor_v3":
                storage, dtype = arguments[0], _VIEWED_DTYPES[arguments[6].name]
                viewed = Storage(storage.key, dtype, storage.size // dtype.itemsize)
                return self._tensor(viewed, *arguments[1:4])
            case "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state":
                return arguments[0]
            case "torch._tensor._rebuild_from_type_v2":
                return self._call(arguments[0], arguments[2])
            case "torch.Size":
                return tuple(arguments[0])
            case "collections.OrderedDict" | "builtins.dict" if arguments:
                return dict(arguments[0])
        if function.name.startswith("torch._utils._rebuild_"):
            raise CheckpointError(
                f"holds a tensor that is not a plain one ({printable(function.name)}): sparse, "
                "quantized, or without values; save dense tensors"
            )
        module, _, name = function.name.rpartition(".")
        of_standard_library = module.partition(".")[0] in sys.stdlib_module_names
        is_class = name[:1].isupper() and not of_standard_library
        if not (is_class or _DATA.fullmatch(function.name)):
            raise CheckpointError(
                f"wants to run code when loaded ({printable(function.name)}), which is refused; "
                "save its state_dict() alone, as safetensors"
            )
        return _Object()

    def _tensor(
        self, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> StoredTensor:
        count = prod(shape)
        extent = 1 + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
        outside = count > 0 and max(offset + extent, count) > storage.numel
        if outside or min((offset, *shape, *strides)) < 0:
            raise ValueError(f"a tensor of shape {shape} lies outside its storage")
        read = partial(self._values, storage, offset, extent, tuple(shape), tuple(strides))
        return StoredTensor(storage.dtype, tuple(shape), read)

    def _values(
        self,
        storage: Storage,
        offset: int,
        extent: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
    ) -> NDArray[Any]:
        """The values of a tensor, which lies in `extent` values of its storage from `offset` on."""
        dtype = storage.dtype
        if not prod(shape):
            return dtype.values(np.empty(shape, dtype.bits))
        step = dtype.itemsize
        part = self._read_part(storage, offset * step, extent * step).view(dtype.bits)
        values = as_strided(part, shape, [step * stride for stride in strides])
        return dtype.values(np.array(values, order="C"))


def _module_tensors(state: dict[str, Any]) -> dict[str, Any]:
    """The state dict of a pickled module, from its own tensors and its parts' state dicts."""
    tensors = {**state["_parameters"], **state.get("_buffers", {})}
    for part, inner in state.get("_modules", {}).items():
        tensors |= {f"{part}.{name}": tensor for name, tensor in (inner or {}).items()}
        if len(tensors) > MOST_NAMES:
            raise CheckpointError(f"is a module of more than {MOST_NAMES} tensors")
    return tensors
