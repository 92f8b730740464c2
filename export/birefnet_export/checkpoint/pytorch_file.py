"""Files of `torch.save`, read as data: nothing that is pickled in them is imported or called.

Today's files are zip archives: pickled objects in `data.pkl`, and the bytes of every storage beside
it. Those of torch before 1.6 are pickles one after the other, followed by the storages. Out of the
pickle come tensors as `StoredTensor`, objects of a class as the dict of their attributes, and whole
modules as their state dict. So a checkpoint may hold whatever a training script keeps beside its
weights. Sizes are checked before anything of that size is read.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

import torch
from birefnet_models.base.text import first_line, printable
from torch import Tensor

from ..errors import CheckpointError
from .state_dict import MOST_NAMES, StoredTensor

_MOST_PICKLED = 32 << 20
"""Bytes of pickle: half of it names and describes 100,000 tensors."""
_MOST_EXPANSION = 4
"""How many times its size an archive may unpack to; weights are noise, which hardly compresses."""
_SMALL = 16 << 20
"""Bytes that any archive may unpack to."""
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
"""What files of torch before 1.6 begin with."""
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}
_VIEWED_DTYPES = {
    "torch.float8_e4m3fn": torch.float8_e4m3fn,
    "torch.float8_e5m2": torch.float8_e5m2,
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


def read_pytorch(file: Path) -> Any:
    """The objects in a file: dicts, lists, numbers and text, with `StoredTensor` for tensors.

    Raises:
        CheckpointError: the file is damaged, unpacks to far more than its size, or calls code.
    """
    with _damage_explained():
        with file.open("rb") as stream:
            is_archive = stream.read(2) == b"PK"
        return _read_archive(file) if is_archive else _read_sequence(file)


@contextmanager
def _damage_explained() -> Iterator[None]:
    try:
        yield
    except (
        *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError),
        *(NotImplementedError, OSError, RecursionError, RuntimeError, TypeError, ValueError),
        *(pickle.UnpicklingError, struct.error, zipfile.BadZipFile, zlib.error),
    ) as error:  # what the standard library raises over wrong bytes
        raise CheckpointError(f"is a damaged PyTorch checkpoint: {first_line(error)}") from error


def _read_archive(file: Path) -> Any:
    archive = zipfile.ZipFile(file)
    sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    pickles = [name for name in sizes if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if len(pickles) != 1:
        raise CheckpointError("is a zip archive without the data.pkl of a PyTorch checkpoint")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in sizes:
        raise CheckpointError("is a TorchScript module; save its state_dict() alone")
    packed, unpacked = file.stat().st_size, sum(sizes.values())
    if unpacked > max(_MOST_EXPANSION * packed, _SMALL) or sizes[pickles[0]] > _MOST_PICKLED:
        raise CheckpointError(
            f"unpacks from {packed} to {unpacked} bytes, which weights do not; it is refused "
            "before it fills the memory"
        )
    order = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in sizes else b"little"
    if order != b"little":
        raise CheckpointError(f"stores its values in the byte order {order[:20]!r}, not little")

    @cache
    def read_storage(key: str) -> Tensor:
        with _damage_explained():
            return _as_tensor(archive.read(f"{folder}data/{key}"))

    return _Unpickler(io.BytesIO(archive.read(pickles[0])), read_storage).load()


def _read_sequence(file: Path) -> Any:
    """A file of torch before 1.6: magic number, protocol, system, objects, keys; then storages."""
    places: dict[str, tuple[int, int]] = {}

    @cache
    def read_storage(key: str) -> Tensor:
        with _damage_explained(), file.open("rb") as again:
            start, size = places[key]
            again.seek(start)
            return _as_tensor(again.read(size))

    with file.open("rb") as stream:
        unpickler = _Unpickler(_Bounded(stream, _MOST_PICKLED), read_storage)
        if unpickler.load() != _MAGIC_NUMBER:
            raise CheckpointError("is a damaged PyTorch checkpoint, or a pickle of something else")
        _protocol, _system, objects, keys = (unpickler.load() for _ in range(4))
        for key in keys:
            (count,) = struct.unpack("<Q", stream.read(8))
            size = count * unpickler.item_sizes[key]
            places[key] = (stream.tell(), size)
            stream.seek(size, io.SEEK_CUR)
        if stream.tell() > file.stat().st_size:
            raise EOFError("the file ends within its tensors")
    return objects


def _as_tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


class _Bounded:
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


class _Storage(NamedTuple):
    key: str
    dtype: torch.dtype
    numel: int
    """Values in it."""


class _Unpickler(pickle._Unpickler):
    """A pickle as data: what it would call makes a tensor, a dict, or stays a description.

    Derived from the standard library's unpickler in Python, whose steps are replaced where they
    import, call or set anything.
    """

    dispatch: ClassVar[Any] = {**pickle._Unpickler.dispatch}
    memo: dict[int, Any]
    stack: list[Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]

    def __init__(
        self, stream: io.BytesIO | _Bounded, read_storage: Callable[[str], Tensor]
    ) -> None:
        super().__init__(stream, encoding="latin-1")
        self._read_storage = read_storage
        self.item_sizes: dict[str, int] = {}
        """Bytes of one value, by the storages' keys."""

    def load(self) -> Any:
        """The next pickle of the stream."""
        self.memo.clear()
        return super().load()

    def find_class(self, module: str, name: str) -> Any:
        renamed = {"__builtin__": "builtins", "copy_reg": "copyreg"}
        return _Global(f"{renamed.get(module, module)}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        _, kind, key, _, numel, *views = pid
        dtype = _DTYPES.get(kind.name.rpartition(".")[2])
        if dtype is None:
            raise CheckpointError(f"holds tensors of {printable(kind.name)}, which no BiRefNet has")
        if any(views):
            raise CheckpointError("holds views of storages, as torch before 0.4 saved them")
        self.item_sizes[key] = dtype.itemsize
        return _Storage(key, dtype, numel)

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
                numel = storage.numel * storage.dtype.itemsize // dtype.itemsize
                return self._tensor(_Storage(storage.key, dtype, numel), *arguments[1:4])
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
        self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> StoredTensor:
        count = prod(shape)
        extent = 1 + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
        outside = count > 0 and max(offset + extent, count) > storage.numel
        if outside or min((offset, *shape, *strides)) < 0:
            raise ValueError(f"a tensor of shape {shape} lies outside its storage")
        return StoredTensor(
            storage.dtype,
            tuple(shape),
            partial(self._values, storage, offset, tuple(shape), tuple(strides)),
        )

    def _values(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> Tensor:
        if not prod(shape):
            return torch.empty(shape, dtype=storage.dtype)
        content = self._read_storage(storage.key)
        if content.numel() != storage.numel * storage.dtype.itemsize:
            raise CheckpointError("is a damaged PyTorch checkpoint: a storage has another size")
        return content.view(storage.dtype).as_strided(shape, strides, offset)


def _module_tensors(state: dict[str, Any]) -> dict[str, Any]:
    """The state dict of a pickled module, from its own tensors and its parts' state dicts."""
    tensors = {**state["_parameters"], **state.get("_buffers", {})}
    for part, inner in state.get("_modules", {}).items():
        tensors |= {f"{part}.{name}": tensor for name, tensor in (inner or {}).items()}
        if len(tensors) > MOST_NAMES:
            raise CheckpointError(f"is a module of more than {MOST_NAMES} tensors")
    return tensors
