"""Files of `torch.save` of every age, held against torch's own reader; and files that attack."""

import argparse
import collections
import io
import pickle
import pickletools
import resource
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from birefnet_export.checkpoint.pytorch_file import read_pytorch
from birefnet_export.checkpoint.state_dict import StoredTensor
from birefnet_export.errors import CheckpointError
from hypothesis import given, settings
from hypothesis import strategies as st

BASE = torch.arange(24.0).reshape(4, 6)
TENSORS = {
    "plain": BASE,
    "transposed": BASE.T,
    "strided": BASE[1::2, ::3],
    "shared": BASE[2],
    "scalar": torch.tensor(3.5),
    "empty": torch.empty(0, 3),
    "half": BASE.half(),
    "bfloat16": BASE.bfloat16(),
    "double": BASE.double(),
    "long": torch.tensor([1, -2, 1 << 40]),
    "bytes": torch.tensor([0, 255], dtype=torch.uint8),
    "truth": torch.tensor([True, False]),
    "eight_bits": BASE.to(torch.float8_e4m3fn),
    "parameter": torch.nn.Parameter(BASE.clone()),
}


def saved(content: object, file: Path, **how: object) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(content, file, **how)
    return file


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_are_those_that_torch_reads(tmp_path, protocol, zipped):
    names = [n for n in TENSORS if zipped or n != "eight_bits"]  # torch before 1.6 had none
    file = saved(
        {name: TENSORS[name] for name in names},
        tmp_path / "a.pth",
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=zipped,
    )

    content = read_pytorch(file)

    assert list(content) == names
    for name, stored in content.items():
        expected = TENSORS[name].detach()
        assert stored.dtype == expected.dtype
        assert stored.shape == tuple(expected.shape)
        assert torch.equal(stored.read().double(), expected.double()), name


class Configuration:
    def __init__(self) -> None:
        self.rate = 1e-4
        self.steps = [1, 2]


class Attributes(dict):
    pass


class Slotted:
    __slots__ = ("__dict__", "rate")


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
        "size": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "dtype": torch.float16,
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

    read = read_pytorch(saved(content, tmp_path / "a.pth", pickle_protocol=4))

    assert read == {"slotted": {"rate": 1e-4, "steps": 3}, "named": {"epoch": 7}, "last": 1}


def test_a_whole_module_is_its_state_dict(tmp_path):
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.Sequential(torch.nn.BatchNorm2d(4))
    )

    read = read_pytorch(saved(module, tmp_path / "a.pth"))

    tensors = {name: value for name, value in read.items() if value is not None}
    assert tensors.keys() == module.state_dict().keys()
    for name, value in module.state_dict().items():
        assert torch.equal(tensors[name].read(), value)


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
        (torch.hub.load, "printed", "torch.hub.load"),
        (time.sleep, 100, "time.sleep"),
        (io.open, "made", "_?io.open"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("beside", ["payload", "state_dict"])
def test_code_is_refused_by_name_and_never_runs(
    tmp_path, monkeypatch, capsys, function, argument, name, protocol, beside
):
    monkeypatch.chdir(tmp_path)
    content = {"bb.weight": BASE, beside: Call(function, argument)}
    file = saved(content, tmp_path / "evil.pth", pickle_protocol=protocol)

    with pytest.raises(CheckpointError, match=f"wants to run code when loaded .{name}., which"):
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
    ("tensor", "kind"),
    [
        (torch.eye(3).to_sparse(), "_rebuild_sparse_tensor"),
        (torch.empty(3, device="meta"), "_rebuild_meta_tensor_no_storage"),
    ],
)
def test_tensors_that_are_not_plain_are_named(tmp_path, tensor, kind):
    with pytest.raises(CheckpointError, match=f"not a plain one .torch._utils.{kind}.: sparse"):
        read_pytorch(saved({"bb.weight": tensor}, tmp_path / "a.pth"))


def test_complex_tensors_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="ComplexFloatStorage, which no BiRefNet has"):
        read_pytorch(saved({"a": torch.zeros(1, dtype=torch.complex64)}, tmp_path / "a.pth"))


def test_a_torchscript_module_is_named(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / "a.pt"))

    with pytest.raises(CheckpointError, match="is a TorchScript module"):
        read_pytorch(tmp_path / "a.pt")


def peak_rss_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_deflated_file_that_unpacks_to_gigabytes_is_refused_before_it_does(tmp_path):
    saved({"bb.weight": torch.zeros(1 << 20)}, tmp_path / "small.pth")
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


def test_a_deflated_file_of_weights_is_read(tmp_path):
    weights = torch.randn(1 << 16)
    saved({"bb.weight": weights}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as source,
        zipfile.ZipFile(tmp_path / "deflated.pth", "w", zipfile.ZIP_DEFLATED) as deflated,
    ):
        for entry in source.infolist():
            deflated.writestr(entry.filename, source.read(entry))

    assert torch.equal(read_pytorch(tmp_path / "deflated.pth")["bb.weight"].read(), weights)


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

    assert torch.equal(whole["bb.weight"].read(), torch.zeros(4))
    with pytest.raises(CheckpointError, match="a storage has another size"):
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
            self._parameters = {"w": BASE}
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


@pytest.mark.parametrize("zipped", [True, False])
def test_every_truncation_is_refused(tmp_path, zipped):
    whole = saved(
        TENSORS | {"eight_bits": BASE},
        tmp_path / "a.pth",
        _use_new_zipfile_serialization=zipped,
    ).read_bytes()
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


def saved_bytes(**how: object) -> bytes:
    buffer = io.BytesIO()
    torch.save({"bb.w": BASE, "a": {"lr": 0.1, "n": np.float64(1)}}, buffer, **how)
    return buffer.getvalue()


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
        any_bytes_of(saved_bytes()),
        any_bytes_of(saved_bytes(_use_new_zipfile_serialization=False)),
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
