"""A tiny BiRefNet with every part of a large one, drawn weights, and graphs run on the spot."""

import importlib.util
import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import onnx
import onnxruntime
import pytest
from birefnet_export.graph.builder import Graph, Value
from birefnet_export.network.architecture import Architecture
from birefnet_export.network.backbone.dino_v3 import DinoV3
from birefnet_export.network.backbone.pvt_v2 import PvtV2
from birefnet_export.network.backbone.swin_v1 import SwinV1
from birefnet_export.network.birefnet import BiRefNet
from birefnet_export.network.nn import Layer
from birefnet_export.reference.birefnet import logits
from safetensors.numpy import save_file

NAN_OFFSETS = pytest.mark.skipif(
    tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 26),
    reason="a NaN among the offsets of DeformConv kills the process in ONNX Runtime 1.25",
)
GOLDEN = Path(__file__).parents[1] / "golden"
TINY = Architecture(
    SwinV1(embed_dim=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 4), window=4, mlp_hidden=40),
    decoder_width=8,
    aspp_width=12,
    patch_width=6,
    gradient_width=4,
)
TINY_DINO = replace(
    TINY,
    backbone=DinoV3(width=32, mlp_hidden=40, gated=False, head_width=16, taken=(0, 1, 2, 4)),
    pyramid=(16, 32, 64, 128),
)
TINY_PVT = replace(
    TINY,
    backbone=PvtV2(widths=(8, 16, 20, 32), depths=(1, 2, 1, 1), mlp_hidden=(24, 32, 40, 48)),
)
SETTINGS: dict[str, dict[str, Any]] = {
    "batch1": {"batch_norm": False},
    "cxt_none": {"context": 0},
    "dec_att_aspp": {"attention": "ASPP", "aspp_kernels": ()},
    "dec_att_none": {"attention": "none", "aspp_kernels": (), "aspp_width": 0},
    "dec_blk_res": {"decoder_block": "ResBlk"},
    "dec_ipt_whole": {"whole_image": True},
    "mul_scl_add": {"multi_scale": "add"},
    "mul_scl_none": {"multi_scale": "none"},
    "no_gradient": {"gradient_width": 0},
    "no_supervision": {"gradient_width": 0},
}
"""What `golden/swin_v1_t_NAME*` differ in from the released models."""


def load_fill() -> ModuleType:
    """`golden/fill.py`, which draws weights and inputs from names and sizes."""
    spec = importlib.util.spec_from_file_location("fill", GOLDEN / "fill.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fill = load_fill()
L = TypeVar("L", bound=Layer)


def key_list(backbone: str) -> dict[str, tuple[int, ...]]:
    """Upstream's state-dict names and shapes."""
    stored = json.loads((GOLDEN / f"{backbone}.keys.json").read_text())
    return {name: tuple(shape) for name, shape in stored.items()}


def drawn(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The golden weights for these names and shapes."""
    return dict(fill.state_dict(dict(shapes)))


def golden_cases(backbone: str) -> list[tuple[int, int, int]]:
    """Batch, height and width of every reference file."""
    name = re.compile(rf"{backbone}_(\d+)x(\d+)x(\d+)")
    found = [name.fullmatch(file.stem) for file in GOLDEN.glob(f"{backbone}_*.npz")]
    return sorted((int(m[1]), int(m[2]), int(m[3])) for m in found if m)


def golden(backbone: str, case: tuple[int, int, int]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A reference case: the input, and what the official implementation made of it."""
    batch, height, width = case
    image = fill.image(batch, height, width, seed=height * 10000 + width)
    with np.load(GOLDEN / f"{backbone}_{batch}x{height}x{width}.npz") as stored:
        return image, dict(stored)


def network(arch: Architecture) -> BiRefNet:
    """A BiRefNet with drawn weights."""
    return with_values(BiRefNet(arch))


def with_values(layer: L) -> L:
    """A layer of its own with drawn weights."""
    return layer.bind(drawn(layer.shapes()).__getitem__)


def weights_of(net: BiRefNet) -> dict[str, np.ndarray]:
    """The values of a network by name, as a checkpoint holds them."""
    return drawn(net.shapes())


def saved(net: BiRefNet, file: Path) -> Path:
    """A network with drawn weights as a checkpoint."""
    save_file(weights_of(net), file)
    return file


def expected_logits(net: BiRefNet, image: np.ndarray) -> np.ndarray:
    """What the reference gives for an image, float64 (batch, 1, height, width)."""
    return logits(image, net)


@pytest.fixture(scope="session")
def tiny() -> BiRefNet:
    return network(TINY)


@pytest.fixture
def tiny_file(tmp_path: Path, tiny: BiRefNet) -> Path:
    """The tiny network as a checkpoint."""
    return saved(tiny, tmp_path / "model.safetensors")


@pytest.fixture(scope="session")
def swin_t_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Swin T with the golden weights and its training-only heads, as a checkpoint."""
    file = tmp_path_factory.mktemp("golden") / "model.safetensors"
    save_file(drawn(key_list("swin_v1_t")), file)
    return file


def evaluated(build: Callable[..., Value], *inputs: np.ndarray, opset: int = 20) -> np.ndarray:
    """What ONNX Runtime makes of a graph that `build(graph, *values)` appends.

    All axes of the inputs are dynamic, so that nothing can depend on a fixed size.
    """
    g = Graph(opset)
    values = [
        g.input(f"x{i}", [f"x{i}_{axis}" for axis in range(value.ndim)])
        for i, value in enumerate(inputs)
    ]
    result = build(g, *values)
    g.output("y", ["any"], g.op("Cast", result, to=onnx.TensorProto.FLOAT))
    model = g.model()
    model.graph.output[0].type.tensor_type.ClearField("shape")  # of any rank
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = {f"x{i}": value for i, value in enumerate(inputs)}
    return np.asarray(session.run(None, feeds)[0])


def model_of(build: Callable[[Graph, Value], Value], *axes: int | str) -> onnx.ModelProto:
    """A graph of one input `x` with these axes and one output `y`."""
    g = Graph(20)
    g.output("y", [f"y{axis}" for axis in range(len(axes))], build(g, g.input("x", list(axes))))
    return g.model()


def computed(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """What ONNX Runtime makes of `x`, after onnx has checked the model."""
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"x": x})[0])


def optimized(build: Callable[..., Value], *axes: list[int | str]) -> list[onnx.NodeProto]:
    """The nodes that ONNX Runtime makes of a graph: what it really runs."""
    g = Graph(23)
    values = [g.input(f"x{i}", list(given)) for i, given in enumerate(axes)]
    g.output("y", ["any"], build(g, *values))
    model = g.model()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    options = onnxruntime.SessionOptions()
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = f"{folder}/optimized.onnx"
        options.log_severity_level = 3  # that such a file is for this machine only
        onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return list(onnx.load(options.optimized_model_filepath).graph.node)


def ancestors(nodes: list[onnx.NodeProto], node: onnx.NodeProto) -> set[str]:
    """Names of all values that `node` needs."""
    makers = {value: maker for maker in nodes for value in maker.output}
    found: set[str] = set()
    waiting = list(node.input)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += makers[name].input if name in makers else []
    return found


def in_order(nodes: list[onnx.NodeProto], some: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """`some` of the nodes, those that need less first."""
    return sorted(some, key=lambda node: len(ancestors(nodes, node)))


def channels_last(x: np.ndarray) -> np.ndarray:
    """(batch, channels, height, width), as graphs have it, to what the reference takes."""
    return np.asarray(x, np.float64).transpose(0, 2, 3, 1)


def channels_first(x: np.ndarray) -> np.ndarray:
    """The reference's (batch, height, width, channels) to what graphs give."""
    return np.asarray(x.transpose(0, 3, 1, 2))


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Normally distributed values, float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
