"""Files of `torch.save` of every age, and files that attack; see `torch_files`."""

import argparse
import collections
import io
import pickle
import pickletools
import resource
import subprocess
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from birefnet_export.checkpoint import pytorch_file
from birefnet_export.checkpoint.file_parts import FileParts
from birefnet_export.checkpoint.pytorch_file import read_pytorch
from birefnet_export.checkpoint.state_dict import StoredTensor
from birefnet_export.errors import CheckpointError
from hypothesis import given, settings
from hypothesis import strategies as st

from .torch_files import (
    Global,
    Parameter,
    Storage,
    Tensor,
    in_sequence,
    saved,
    tensor,
    zipped,
)

BASE = np.arange(24, dtype=np.float32).reshape(4, 6)
ROW = Storage(BASE, "FloatStorage")
UPPER_HALVES = (BASE.view(np.uint32) >> 16).astype(np.uint16)
"""Of small integers the lower half of a float32 is zero."""
E4M3FN = {0x00: 0, 0x01: 2**-9, 0x07: 7 * 2**-9, 0x08: 2**-6, 0x38: 1, 0x7E: 448, 0xB8: -1}
E5M2 = {0x00: 0, 0x01: 2**-16, 0x3C: 1, 0x7B: 57344, 0x7C: np.inf, 0xBC: -1}


def codes(values: dict[int, float]) -> np.ndarray:
    return np.array(list(values), np.uint8)


TENSORS = {
    "plain": (Tensor(ROW, (4, 6), (6, 1)), "float32", BASE),
    "transposed": (Tensor(ROW, (6, 4), (1, 6)), "float32", BASE.T),
    "strided": (Tensor(ROW, (2, 2), (12, 3), 6), "float32", BASE[1::2, ::3]),
    "shared": (Tensor(ROW, (6,), (1,), 12), "float32", BASE[2]),
    "expanded": (Tensor(ROW, (3, 6), (0, 1)), "float32", np.broadcast_to(BASE[0], (3, 6))),
    "scalar": (tensor(np.float32(3.5)), "float32", 3.5),
    "empty": (tensor(np.zeros((0, 3), np.float32)), "float32", np.zeros((0, 3))),
    "half": (tensor(BASE.astype(np.float16)), "float16", BASE),
    "bfloat16": (tensor(UPPER_HALVES, "BFloat16Storage"), "bfloat16", BASE),
    "double": (tensor(BASE.astype(np.float64)), "float64", BASE),
    "long": (tensor(np.array([1, -2, 1 << 40])), "int64", [1, -2, 1 << 40]),
    "bytes": (tensor(np.array([0, 255], np.uint8)), "uint8", [0, 255]),
    "truth": (tensor(np.array([True, False])), "bool", [True, False]),
    "parameter": (Parameter(tensor(BASE)), "float32", BASE),
}
EIGHT_BITS = {
    name: (tensor(codes(values), "UntypedStorage", name), name, list(values.values()))
    for name, values in (("float8_e4m3fn", E4M3FN), ("float8_e5m2", E5M2))
}
"""Which torch before 1.6 had not."""


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("sequence", [True, False])
def test_tensors_have_their_type_shape_and_values(tmp_path, protocol, sequence):
    tensors = TENSORS if sequence else TENSORS | EIGHT_BITS
    content = {name: written for name, (written, _, _) in tensors.items()}

    read = read_pytorch(saved(content, tmp_path / "a.pth", protocol, sequence=sequence))

    assert list(read) == list(tensors)
    for name, (_, dtype, values) in tensors.items():
        assert read[name].dtype.name == dtype
        assert read[name].shape == np.shape(values)
        for _ in range(2):  # at first all of a storage is compared with its CRC
            assert read[name].read().shape == np.shape(values)
            assert np.array_equal(read[name].read(), values), name


class Configuration:
    def __init__(self) -> None:
        self.rate = 1e-4
        self.steps = [1, 2]


class Attributes(dict):
    pass


class Slotted:
    __slots__ = ("__dict__", "rate")


class Size:
    def __reduce__(self):
        return Global("torch", "Size"), ([1, 2],)


class Named:
    def __new__(cls, *, name: str) -> "Named":
        return super().__new__(cls)

    def __getnewargs_ex__(self):
        return (), {"name": "x"}


def test_what_a_training_script_keeps_is_data(tmp_path):
    content = {
        "args": argparse.Namespace(lr=1e-4, path=Path("/data")),
        "configuration": Configuration(),
        "attributes": Attributes(batch=8),
        "best": np.float64(0.5),
        "curve": np.arange(3),
        "counts": collections.defaultdict(list, a=[1]),
        "ordered": collections.OrderedDict(a=1),
        "random": np.random.default_rng(1).bit_generator.state,
        "size": Size(),
        "dtype": Global("torch", "float16"),
        "nothing": None,
    }

    read = read_pytorch(saved(content, tmp_path / "a.pth"))

    assert list(read) == list(content)
    assert read["args"]["lr"] == 1e-4
    assert read["configuration"] == {"rate": 1e-4, "steps": [1, 2]}
    assert read["attributes"] == {"batch": 8}
    assert read["ordered"] == {"a": 1}
    assert read["counts"] == {"a": [1]}
    assert read["size"] == (1, 2)


def test_an_object_is_the_dict_of_its_attributes_however_they_are_kept(tmp_path):
    slotted, named = Slotted(), Named(name="x")
    slotted.rate, slotted.steps = 1e-4, 3
    named.epoch = 7
    content = {"slotted": slotted, "named": named, "last": 1}

    read = read_pytorch(saved(content, tmp_path / "a.pth", 4))

    assert read == {"slotted": {"rate": 1e-4, "steps": 3}, "named": {"epoch": 7}, "last": 1}


class Module:
    """Has what torch.nn.Module keeps its tensors and parts in."""

    def __init__(self, parameters: dict, parts: dict | None = None, buffers: dict | None = None):
        self._parameters = parameters
        self._buffers = buffers or {}
        self._modules = parts or {}


def test_a_whole_module_is_its_state_dict(tmp_path):
    norm = Module({"weight": tensor(BASE[0])}, buffers={"running_mean": tensor(BASE[1])})
    inner = Module({}, {"0": norm})
    module = Module({}, {"0": Module({"weight": tensor(BASE), "bias": None}), "1": inner})

    read = read_pytorch(saved(module, tmp_path / "a.pth"))

    tensors = {name: value.read() for name, value in read.items() if value is not None}
    assert list(tensors) == ["0.weight", "1.0.weight", "1.0.running_mean"]
    assert np.array_equal(tensors["0.weight"], BASE)
    assert np.array_equal(tensors["1.0.running_mean"], BASE[1])


class Call:
    """Pickles as a call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "argument", "name"),
    [
        (print, "printed", "builtins.print"),
        (eval, "print('printed')", "builtins.eval"),
        (exec, "print('printed')", "builtins.exec"),
        (getattr, "printed", "builtins.getattr"),
        (Global("torch.hub", "load"), "printed", "torch.hub.load"),
        (time.sleep, 100, "time.sleep"),
        (subprocess.Popen, "true", "subprocess.Popen"),
        (io.open, "made", "_?io.open"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("beside", ["payload", "state_dict"])
def test_code_is_refused_by_name_and_never_runs(
    tmp_path, monkeypatch, capsys, function, argument, name, protocol, beside
):
    monkeypatch.chdir(tmp_path)
    content = {"bb.weight": tensor(BASE), beside: Call(function, argument)}
    file = saved(content, tmp_path / "evil.pth", protocol)

    with pytest.raises(CheckpointError, match=f"run code .*[(]{name}[)]"):
        read_pytorch(file)

    assert capsys.readouterr().out == ""
    assert [p.name for p in tmp_path.iterdir()] == ["evil.pth"]


def crafted(pickled: bytes, file: Path, **storages: bytes) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for key, content in storages.items():
            archive.writestr(f"archive/data/{key.removeprefix('_')}", content)
    return file


@pytest.mark.parametrize(
    "pickled",
    [
        b"cos\nsystem\n(S'echo printed'\ntR.",  # REDUCE
        b"(S'echo printed'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'echo printed'\no.",  # OBJ
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04echo\x85R.",  # STACK_GLOBAL
        b"cbuiltins\neval\n(Vprint('printed')\ntR.",
        b"cbuiltins\ngetattr\n(cos\nsystem\nV__call__\ntR.",
    ],
)
def test_every_way_of_calling_is_refused(tmp_path, capfd, pickled):
    pickletools.dis(pickled, io.StringIO())

    with pytest.raises(CheckpointError, match="wants to run code"):
        read_pytorch(crafted(pickled, tmp_path / "evil.pth"))
    assert capfd.readouterr().out == ""


def test_nothing_is_set_on_a_class_that_a_pickle_names(tmp_path):
    pickled = b"ccollections\nOrderedDict\n}(Vkeys\nVbroken\nub."  # BUILD on the class itself

    read_pytorch(crafted(pickled, tmp_path / "a.pth"))

    assert callable(collections.OrderedDict.keys)


@pytest.mark.parametrize(
    "kind", ["_rebuild_sparse_tensor", "_rebuild_qtensor", "_rebuild_meta_tensor_no_storage"]
)
def test_tensors_that_are_not_plain_are_named(tmp_path, kind):
    content = {"bb.weight": Call(Global("torch._utils", kind), tensor(BASE))}

    with pytest.raises(CheckpointError, match=f"torch._utils.{kind}.*save dense tensors"):
        read_pytorch(saved(content, tmp_path / "a.pth"))


def test_complex_tensors_are_named(tmp_path):
    content = {"a": tensor(np.zeros(1, np.complex64), "ComplexFloatStorage")}

    with pytest.raises(CheckpointError, match="ComplexFloatStorage"):
        read_pytorch(saved(content, tmp_path / "a.pth"))


def test_a_torchscript_module_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}))
        archive.writestr("a/constants.pkl", pickle.dumps(()))

    with pytest.raises(CheckpointError, match="TorchScript"):
        read_pytorch(tmp_path / "a.pt")


def peak_rss_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_deflated_file_that_unpacks_to_gigabytes_is_refused_before_it_does(tmp_path):
    saved({"bb.weight": tensor(np.zeros(1 << 20, np.float32))}, tmp_path / "small.pth")
    with (
        zipfile.ZipFile(tmp_path / "small.pth") as source,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in source.infolist():
            with bomb.open(entry.filename, "w", force_zip64=True) as stream:
                for _ in range(25 if "/data/" in entry.filename else 1):
                    stream.write(source.read(entry))
    assert (tmp_path / "bomb.pth").stat().st_size < 300_000
    before, started = peak_rss_bytes(), time.perf_counter()

    with pytest.raises(CheckpointError, match=r"unpacks from \d+ to 1048\d{5} bytes"):
        read_pytorch(tmp_path / "bomb.pth")

    assert peak_rss_bytes() - before < 50_000_000
    assert time.perf_counter() - started < 2


def rewritten(source: Path, target: Path, entries: dict[str, bytes]) -> Path:
    """An archive once more, deflated, with these entries in place of its own, or beside them."""
    with (
        zipfile.ZipFile(source) as old,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        content = {entry.filename: old.read(entry) for entry in old.infolist()}
        folder = old.namelist()[0].partition("/")[0]
        for name, values in (content | {f"{folder}/{n}": v for n, v in entries.items()}).items():
            new.writestr(name, values)
    return target


@pytest.mark.parametrize(
    ("entries", "most_pickled", "text"),
    [
        ({"byteorder": b"big"}, None, "big"),
        ({"data/9": np.random.default_rng(0).bytes(1 << 21) + bytes(18 << 20)}, None, "unpacks"),
        ({}, 10, "unpacks"),
    ],
    ids=["big-endian", "ten times as large", "a large pickle"],
)
def test_an_archive_that_is_no_plain_one_is_refused(
    tmp_path, monkeypatch, entries, most_pickled, text
):
    if most_pickled:
        monkeypatch.setattr(pytorch_file, "_MOST_PICKLED", most_pickled)
    plain = saved({"bb.weight": tensor(BASE)}, tmp_path / "plain.pth")

    with pytest.raises(CheckpointError, match=text):
        read_pytorch(rewritten(plain, tmp_path / "other.pth", entries))


def test_a_deflated_file_of_weights_is_read(tmp_path):
    weights = np.random.default_rng(0).standard_normal(1 << 16).astype(np.float32)
    file = tmp_path / "deflated.pth"
    file.write_bytes(zipped({"bb.weight": tensor(weights)}, how=zipfile.ZIP_DEFLATED))

    stored = read_pytorch(file)["bb.weight"]

    assert np.array_equal(stored.read(), weights)
    assert np.array_equal(stored.read(), weights)


def test_a_value_that_was_changed_in_the_file_is_noticed(tmp_path):
    file = saved({"bb.weight": tensor(BASE)}, tmp_path / "a.pth")
    content = file.read_bytes()
    place = content.index(BASE.tobytes()) + 8
    file.write_bytes(content[:place] + b"\x01" + content[place + 1 :])

    with pytest.raises(CheckpointError, match=r"damaged.*CRC-32"):
        read_pytorch(file)["bb.weight"].read()


def test_a_file_that_is_written_to_while_it_is_read_is_noticed(tmp_path):
    file = saved({"bb.weight": tensor(BASE)}, tmp_path / "a.pth")
    stored = read_pytorch(file)["bb.weight"]
    saved({"bb.weight": tensor(BASE + 1), "more": 1}, file)

    with pytest.raises(CheckpointError, match="while it was read"):
        stored.read()


def test_a_part_of_a_storage_is_read_without_the_rest(tmp_path, monkeypatch):
    """Of a large storage that many tensors share, as sharded training saves it."""
    row = Storage(np.arange(1 << 16, dtype=np.float32), "FloatStorage")
    content = {str(i): Tensor(row, (4,), (1,), 4 * i) for i in range(3)}
    read = read_pytorch(saved(content, tmp_path / "a.pth"))
    read["0"].read()  # and compares all of it with the CRC, once
    sizes = []
    whole = FileParts.read
    monkeypatch.setattr(FileParts, "read", lambda *a: (sizes.append(a[2]), whole(*a))[1])

    assert np.array_equal(read["2"].read(), [8, 9, 10, 11])
    assert max(sizes) < 64


def tensor_pickle(shape: str, strides: str, numel: int = 4, offset: int = 0) -> bytes:
    """A state dict with one tensor, as torch pickles it."""
    storage = f"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI{numel}\ntQ"
    rebuild = f"ctorch._utils\n_rebuild_tensor_v2\n({storage}I{offset}\n{shape}{strides}I00\n}}tR"
    return f"}}Vbb.weight\n{rebuild}s.".encode()


@pytest.mark.parametrize(
    "pickled",
    [
        tensor_pickle("(I5\nt", "(I1\nt"),
        tensor_pickle("(I4\nt", "(I1\nt", offset=1),
        tensor_pickle("(I1\nt", "(I1\nt", offset=4),
        tensor_pickle("(I4\nt", "(I2\nt"),
        tensor_pickle("(I1000000000\nt", "(I0\nt"),  # one value, expanded
        tensor_pickle("(I-4\nt", "(I1\nt"),
        tensor_pickle("(I2\nt", "(I-1\nt", offset=1),
        tensor_pickle("(I2\nI2\nt", "(I1\nt"),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(tmp_path, pickled):
    with pytest.raises(CheckpointError, match="damaged"):
        read_pytorch(crafted(pickled, tmp_path / "a.pth", _0=bytes(16)))


def test_a_storage_of_another_size_is_refused(tmp_path):
    pickled = tensor_pickle("(I4\nt", "(I1\nt")
    whole = read_pytorch(crafted(pickled, tmp_path / "a.pth", _0=bytes(16)))
    short = read_pytorch(crafted(pickled, tmp_path / "b.pth", _0=bytes(12)))

    assert np.array_equal(whole["bb.weight"].read(), np.zeros(4))
    with pytest.raises(CheckpointError, match="storage has another size"):
        short["bb.weight"].read()


def test_a_pickle_that_asks_for_more_than_there_is_gets_no_memory(tmp_path):
    before = peak_rss_bytes()
    for opcode in (b"\x96", b"\x8d", b"\x8e"):  # BYTEARRAY8, BINUNICODE8, BINBYTES8
        pickled = b"\x80\x05" + opcode + (8 << 30).to_bytes(8, "little") + b"x."
        for file in (crafted(pickled, tmp_path / "a.pth"), tmp_path / "old.pth"):
            if file.name == "old.pth":
                file.write_bytes(pickled)
            with pytest.raises(CheckpointError, match="damaged"):
                read_pytorch(file)
    assert peak_rss_bytes() - before < 50_000_000


def test_a_module_that_holds_itself_doubled_is_bounded(tmp_path):
    class Doubling:
        def __init__(self, inner: object) -> None:
            self._parameters = {"w": tensor(BASE)}
            self._modules = {"a": inner, "b": inner}

    Doubling.__qualname__ = "Configuration"  # to be found when it is pickled
    Doubling.__name__ = "Configuration"
    node: object = None
    for _ in range(60):
        node = Doubling(node)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "Configuration", Doubling)
        file = saved(node, tmp_path / "a.pth")

    with pytest.raises(CheckpointError, match="more than 100000 tensors"):
        read_pytorch(file)


@pytest.mark.parametrize("sequence", [True, False])
def test_every_truncation_is_refused(tmp_path, sequence):
    content = {name: written for name, (written, _, _) in TENSORS.items()}
    whole = saved(content, tmp_path / "a.pth", sequence=sequence).read_bytes()
    file = tmp_path / "cut.pth"
    for size in (1, 2, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="damaged"):
            read_pytorch(file)


def any_bytes_of(content: bytes) -> st.SearchStrategy[bytes]:
    """The content with a few bytes changed, or cut."""
    changes = st.lists(
        st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), min_size=1, max_size=8
    )

    def changed(places: list[tuple[int, int]], cut: int) -> bytes:
        mutable = bytearray(content)
        for place, value in places:
            mutable[place] = value
        return bytes(mutable[: len(mutable) - cut])

    return st.builds(changed, changes, st.integers(0, 3))


SMALL = {"bb.w": tensor(BASE), "a": {"lr": 0.1, "n": np.float64(1)}}


def refusal(file: Path) -> str:
    """The message of the refusal; empty where the file and its tensors are read."""
    try:
        content = read_pytorch(file)
        for value in content.values() if isinstance(content, dict) else ():
            if isinstance(value, StoredTensor):
                value.read()
    except CheckpointError as error:
        return str(error)
    return ""


@settings(deadline=None)
@given(
    st.one_of(
        any_bytes_of(zipped(SMALL)),
        any_bytes_of(in_sequence(SMALL)),
        st.binary(max_size=200).map(lambda tail: b"\x80" + tail),
    )
)
def test_any_bytes_are_a_value_or_one_error(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "any.pth"
    file.write_bytes(content)

    assert "\n" not in refusal(file)


@settings(deadline=None)
@given(any_bytes_of(pickle.dumps({"a": [1.5, "x", (2, None)], "b": {3, 4}}, protocol=2)))
def test_any_pickle_in_a_sound_archive_is_a_value_or_one_error(tmp_path_factory, pickled):
    file = tmp_path_factory.getbasetemp() / "pickle.pth"

    assert "\n" not in refusal(crafted(pickled, file))
