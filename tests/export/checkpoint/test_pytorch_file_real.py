"""Files that torch itself writes, and reads: every age of `torch.save`."""

import argparse
import collections
import warnings
from pathlib import Path

import numpy as np
import pytest
from birefnet_export.checkpoint import dtypes
from birefnet_export.checkpoint.pytorch_file import read_pytorch
from birefnet_export.errors import CheckpointError

pytestmark = pytest.mark.pytorch
torch = pytest.importorskip("torch")

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
        assert f"torch.{stored.dtype.name}" == str(expected.dtype)
        assert stored.shape == tuple(expected.shape)
        assert np.array_equal(stored.read(), expected.double().numpy()), name


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (dtypes.BFLOAT16, "bfloat16"),
        (dtypes.FLOAT8_E4M3FN, "float8_e4m3fn"),
        (dtypes.FLOAT8_E5M2, "float8_e5m2"),
    ],
)
def test_every_code_is_decoded_as_torch_does(dtype, name):
    codes = np.arange(2 ** (8 * dtype.itemsize)).astype(dtype.bits)
    expected = torch.from_numpy(codes).view(getattr(torch, name)).float().numpy()

    assert np.array_equal(dtype.values(codes), expected, equal_nan=True)


def test_what_a_training_script_keeps_is_data(tmp_path):
    content = {
        "args": argparse.Namespace(lr=1e-4, path=Path("/data")),
        "best": np.float64(0.5),
        "counts": collections.defaultdict(list, a=[1]),
        "size": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "dtype": torch.float16,
    }

    read = read_pytorch(saved(content, tmp_path / "a.pth"))

    assert list(read) == list(content)
    assert read["args"]["lr"] == 1e-4
    assert read["size"] == (1, 2)


def test_a_whole_module_is_its_state_dict(tmp_path):
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.Sequential(torch.nn.BatchNorm2d(4))
    )

    read = read_pytorch(saved(module, tmp_path / "a.pth"))

    tensors = {name: value for name, value in read.items() if value is not None}
    assert tensors.keys() == module.state_dict().keys()
    for name, value in module.state_dict().items():
        assert np.array_equal(tensors[name].read(), value.numpy())


def test_tensors_that_are_not_plain_are_named(tmp_path):
    for tensor, kind in (
        (torch.eye(3).to_sparse(), "_rebuild_sparse_tensor"),
        (torch.empty(3, device="meta"), "_rebuild_meta_tensor_no_storage"),
    ):
        with pytest.raises(CheckpointError, match=kind):
            read_pytorch(saved({"bb.weight": tensor}, tmp_path / "a.pth"))


def test_a_torchscript_module_is_named(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / "a.pt"))

    with pytest.raises(CheckpointError, match="TorchScript"):
        read_pytorch(tmp_path / "a.pt")
