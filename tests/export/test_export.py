"""From a checkpoint file to a verified directory, and through ONNX Runtime."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from birefnet_export import pipeline
from birefnet_export.errors import ExportError, GraphError, ParityError
from birefnet_export.export import export_onnx
from birefnet_export.graph.lowering import LOWERINGS
from birefnet_export.graph.signature import check_signature
from birefnet_export.options import OPSETS
from birefnet_export.verify.logits import INPUT_SHAPES
from safetensors.numpy import save_file

from .conftest import SETTINGS, drawn, expected_logits, fill, golden, golden_cases, key_list, saved

TOLERANCE = 1e-4


def run(file, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input_image": image})[0])


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tiny):
    folder = tmp_path_factory.mktemp("tiny")
    saved(tiny, folder / "model.safetensors")
    return export_onnx(folder, folder / "out", trained_size=(96, 160))


def test_the_directory_follows_the_hub(exported):
    directory = exported.directory
    files = sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())
    processor = json.loads((directory / "preprocessor_config.json").read_text())

    assert files == [
        "config.json",
        "onnx/SHA256SUMS",
        "onnx/model.onnx",
        "preprocessor_config.json",
    ]
    assert json.loads((directory / "config.json").read_text()) == {
        "architectures": ["BiRefNet"],
        "model_type": "birefnet",
    }
    assert processor["size"] == {"height": 96, "width": 160}
    assert processor["resample"] == 2
    assert processor["rescale_factor"] == pytest.approx(1 / 255)
    assert processor["image_mean"] == [0.485, 0.456, 0.406]


def test_the_file_carries_its_own_facts(exported, tiny):
    model = onnx.load(exported.file)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    parity = json.loads(facts["birefnet.parity"])

    assert facts["birefnet.backbone"] == "swin"
    assert json.loads(facts["birefnet.architecture"]) == tiny.arch.to_dict()
    assert facts["birefnet.trained_size"] == "96x160"
    assert facts["birefnet.checkpoint"] == "model.safetensors"
    assert len(facts["birefnet.checkpoint_sha256"]) == 64
    assert parity["logits_max_abs"] == exported.parity.logits_max_abs < TOLERANCE
    assert [tuple(case) for case in parity["cases"]] == list(INPUT_SHAPES)


def test_the_runtime_reads_the_facts_that_export_wrote(exported):
    from birefnet_runtime import Segmenter

    segmenter = Segmenter(exported.directory)
    alpha = segmenter(np.zeros((50, 70, 3), np.uint8))

    assert alpha.shape == (50, 70)
    assert segmenter.metadata.trained_size == (96, 160)


@pytest.mark.parametrize("case", [(1, 32, 32), (3, 32, 96), (1, 416, 224), (2, 160, 544)])
def test_any_batch_and_any_multiple_of_32_runs(exported, tiny, case):
    image = fill.image(*case)

    logits = run(exported.file, image)

    assert logits.shape == (case[0], 1, *case[1:])
    assert abs(logits - expected_logits(tiny, image)).max() < TOLERANCE


OFFERED = [
    pytest.param(name, opset, marks=[] if opset == lowering.default_opset else [pytest.mark.slow])
    for name, lowering in LOWERINGS.items()
    for opset in OPSETS
    if opset >= lowering.first_opset
]
"""The opset that a lowering has by default always, the others where there is time."""


@pytest.mark.parametrize(("lowering", "opset"), OFFERED)
def test_every_lowering_and_opset_computes_the_same(tiny_file, tmp_path, lowering, opset):
    report = export_onnx(tiny_file, tmp_path / "out", opset=opset, lowering=lowering)

    model = onnx.load(report.file)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert [entry.version for entry in model.opset_import if not entry.domain] == [opset]
    assert facts["birefnet.lowering"] == lowering
    assert report.parity.logits_max_abs < TOLERANCE


@pytest.mark.parametrize(
    ("lowering", "default", "deform_convs", "grid_samples"),
    [
        ("native", 20, 5 * 4, 0),  # five times kernels of 1, 1, 3 and 7
        ("rows", 23, 5 * (3 + 7), 0),
        ("gridsample", 17, 0, 5 * (1 + 1 + 3 + 7)),
    ],
)
def test_a_lowering_has_its_own_opset_and_operators(
    tiny_file, tmp_path, lowering, default, deform_convs, grid_samples
):
    report = export_onnx(tiny_file, tmp_path / "out", lowering=lowering, verify=False)
    kinds = [node.op_type for node in onnx.load(report.file).graph.node]

    assert report.opset == default
    assert kinds.count("DeformConv") == deform_convs
    assert kinds.count("GridSample") == grid_samples
    assert ("Attention" in kinds) == (default >= 23)


@pytest.mark.parametrize(("lowering", "opset"), [("native", 18), ("rows", 24), ("gridsample", 16)])
def test_an_opset_that_cannot_hold_a_lowering_is_refused(tiny_file, tmp_path, lowering, opset):
    with pytest.raises(ExportError, match=f"opset {opset} is not .* {lowering}; choose one from"):
        export_onnx(tiny_file, tmp_path / "out", opset=opset, lowering=lowering)


def test_a_lowering_that_is_none_is_refused(tiny_file, tmp_path):
    with pytest.raises(ExportError, match=r"'columns' .* choose from native"):
        export_onnx(tiny_file, tmp_path / "out", lowering="columns")


def test_nothing_is_traced_and_nothing_warns(exported):
    assert exported.warnings == ()


@pytest.mark.slow
def test_swin_t_with_golden_weights_gives_the_official_logits(swin_t_file, tmp_path):
    report = export_onnx(swin_t_file, tmp_path / "out", verify=False)

    assert report.arch.backbone.name == "swin_v1_t"
    assert report.parity is None
    cases = golden_cases("swin_v1_t")
    assert len(cases) >= 3
    for case in cases:
        image, expected = golden("swin_v1_t", case)
        assert abs(run(report.file, image) - expected["logits"]).max() < TOLERANCE, case


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mul_scl_none", "dec_att_aspp"])
def test_other_settings_give_the_official_logits(tmp_path, name):
    save_file(drawn(key_list(f"swin_v1_t_{name}")), tmp_path / "model.safetensors")

    report = export_onnx(
        tmp_path,
        tmp_path / "out",
        multi_scale=SETTINGS[name].get("multi_scale"),
        verify=False,
    )

    (case,) = golden_cases(f"swin_v1_t_{name}")
    image, expected = golden(f"swin_v1_t_{name}", case)
    assert abs(run(report.file, image) - expected["logits"]).max() < TOLERANCE


def spoiled(change):
    """`build_model` with one weight of the result changed.

    In one of the last convolutions: a NaN in an offset kills the process in ONNX Runtime 1.25.
    """
    original = pipeline.build_model

    def build(net, form, weights):
        model = original(net, form, weights)
        for tensor in reversed(model.graph.initializer):
            if len(tensor.dims) == 4:
                values = weights.array(tensor).copy()
                values.flat[0] = change(values.flat[0])
                tensor.CopyFrom(weights.tensor(tensor.name, values))
                return model
        raise AssertionError("the graph has no convolution")

    return build


@pytest.mark.parametrize(
    ("change", "said"),
    [(lambda w: w + 0.5, "differ from the reference"), (lambda w: np.nan, "NaN")],
)
def test_a_graph_that_computes_something_else_leaves_no_file(
    tiny_file, tmp_path, monkeypatch, change, said
):
    monkeypatch.setattr(pipeline, "build_model", spoiled(change))
    out = tmp_path / "out"

    with pytest.raises(ParityError, match=said):
        export_onnx(tiny_file, out)

    assert [p for p in out.rglob("*") if p.is_file()] == []


@pytest.mark.slow
def test_an_export_that_fails_keeps_the_file_that_was_there(tiny_file, tmp_path, monkeypatch):
    file = export_onnx(tiny_file, tmp_path / "out").file
    before = file.read_bytes()
    monkeypatch.setattr(pipeline, "build_model", spoiled(lambda w: w + 0.5))

    with pytest.raises(ParityError):
        export_onnx(tiny_file, tmp_path / "out")

    assert file.read_bytes() == before


def test_an_output_that_is_a_file_is_named(tiny_file, tmp_path):
    (tmp_path / "out").write_text("in the way")

    with pytest.raises(ExportError, match="out: can't be written"):
        export_onnx(tiny_file, tmp_path / "out")


@pytest.mark.parametrize(
    "change",
    [
        lambda graph: graph.input[0].type.tensor_type.shape.dim[2].__setattr__("dim_value", 64),
        lambda graph: graph.output[0].__setattr__("name", "mask"),
        lambda graph: graph.input[0].type.tensor_type.__setattr__("elem_type", 10),
    ],
)
def test_a_graph_of_another_signature_is_refused(exported, change):
    model = onnx.load(exported.file)
    check_signature(model)
    change(model.graph)

    with pytest.raises(GraphError):
        check_signature(model)


def test_the_runtime_keeps_a_limit_of_memory_with_what_the_file_says(exported):
    from birefnet_runtime import MemoryLimitError, Segmenter

    segmenter = Segmenter(exported.directory, max_memory="1GB", providers="cpu")
    assert segmenter.session_info.provider.prepack  # the fastest settings fit
    assert segmenter.model_size((50, 70)) == (96, 160)

    with pytest.raises(MemoryLimitError, match=r"model\.onnx doesn't fit .* 50 MB: at 96x160"):
        Segmenter(exported.directory, size=(96, 160), max_memory=50e6)


@pytest.mark.parametrize(
    ("memory", "prepack", "arena"),
    [
        ("fast", True, "next-power-of-two"),
        ("balanced", False, "next-power-of-two"),
        ("low", False, "one-region"),
    ],
)
def test_settings_of_memory_change_no_answer(exported, tiny, memory, prepack, arena):
    from birefnet_runtime import Segmenter

    segmenter = Segmenter(exported.directory, memory=memory, providers="cpu")
    image = fill.image(1, 96, 160)

    assert segmenter.session_info.provider.prepack == prepack
    assert segmenter.session_info.provider.arena == arena
    for _ in range(2):  # after memory was given back, too
        logits = segmenter.logits(image)
        assert abs(logits - expected_logits(tiny, image)).max() < TOLERANCE
