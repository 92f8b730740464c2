"""Models of other exporters: fixed sizes, half precision, sigmoid inside, several outputs."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from birefnet_runtime import ModelError, Segmenter, SizeError
from birefnet_runtime.model.locate import ModelFile
from birefnet_runtime.model.metadata import output_kind, preprocessing_facts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from ...conftest import FACTS

FREE = ("batch", 3, "height", "width")
FIXED = (1, 3, 64, 96)


def write(
    path: Path,
    tail=(("Identity", "logits", "mask"),),
    *,
    shape=FREE,
    half=False,
    outputs=("mask",),
    small=(),
    names=("pixel_values",),
    facts=(),
) -> Path:
    """A graph whose logit is 4 times a pixel's mean, ended by the operators of `tail`.

    Args:
        shape: of the input; an output has the same with one channel, one in `small` a quarter.
    """
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    kernel = np.full((1, 3, 1, 1), 4 / 3, np.float16 if half else np.float32)
    one = (shape[0], 1, *shape[2:])
    quarter = (shape[0], 1, *(s // 4 if isinstance(s, int) else f"{s}_4" for s in shape[2:]))
    nodes = [helper.make_node("Conv", [names[0], "kernel"], ["logits"])]
    nodes += [helper.make_node(op, [source], [result]) for op, source, result in tail]
    graph = helper.make_graph(
        [*nodes, *(helper.make_node("AveragePool", ["logits"], [name], kernel_shape=[4, 4],
                                    strides=[4, 4]) for name in small)],
        "foreign",
        [helper.make_tensor_value_info(name, kind, shape) for name in names],
        [helper.make_tensor_value_info(name, kind, quarter if name in small else one)
         for name in outputs],
        [numpy_helper.from_array(kernel, "kernel")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, dict(facts))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


SIGMOID = (("Sigmoid", "logits", "mask"),)


def at_64(path: Path) -> Segmenter:
    """The model in its own folder, with a preprocessing file that says 64 x 64 and nothing else."""
    (path.parent / "preprocessor_config.json").write_text('{"size": 64}')
    return Segmenter(path)


def test_a_fixed_size_is_used_as_it_is(tmp_path, picture):
    """As rembg's files are: upstream's own export, one size, batch one."""
    segmenter = Segmenter(write(tmp_path / "birefnet-general-lite.onnx", shape=FIXED))

    assert segmenter.metadata.fixed
    assert segmenter.metadata.trained_size == (64, 96)
    assert segmenter.metadata.mean == (0.485, 0.456, 0.406)
    assert segmenter(picture).shape == (48, 80)
    assert Segmenter(tmp_path / "birefnet-general-lite.onnx", size="auto").model_size((9, 9)) == (
        64,
        96,
    )


def test_another_size_than_the_only_one_is_refused(tmp_path):
    path = write(tmp_path / "fixed.onnx", shape=FIXED)

    with pytest.raises(SizeError, match="for 64x96 alone, not"):
        Segmenter(path, size=128)
    with pytest.raises(SizeError, match="64x96 alone"):
        Segmenter(path).logits(np.zeros((1, 3, 32, 32), np.float32))


def test_a_fixed_size_need_not_be_a_multiple_of_32(tmp_path, picture):
    path = write(tmp_path / "odd.onnx", shape=(1, 3, 50, 70))

    assert Segmenter(path)(picture).shape == (48, 80)


def test_a_batch_through_a_graph_that_takes_one_image(tmp_path):
    tensor = np.random.default_rng(1).normal(size=(3, 3, 64, 96)).astype(np.float32)

    logits = Segmenter(write(tmp_path / "one.onnx", shape=FIXED)).logits(tensor)

    np.testing.assert_allclose(logits[:, 0], tensor.sum(axis=1) * 4 / 3, rtol=1e-4, atol=1e-4)


def test_a_batch_that_does_not_divide_is_an_error(tmp_path):
    segmenter = Segmenter(write(tmp_path / "two.onnx", shape=(2, 3, 64, 64)))

    with pytest.raises(ModelError, match="batches of 2, not of 3"):
        segmenter.logits(np.zeros((3, 3, 64, 64), np.float32))


@pytest.mark.parametrize("half", [False, True])
def test_a_sigmoid_inside_gives_the_same_alpha_as_logits(tmp_path, picture, half):
    plain = at_64(write(tmp_path / "plain.onnx"))
    inside = at_64(write(tmp_path / "inside.onnx", SIGMOID, half=half))

    assert plain.metadata.output == "logits"
    assert inside.metadata.output == "mask"
    np.testing.assert_allclose(inside(picture), plain(picture), atol=2e-3 if half else 2e-7)


def test_the_ends_of_a_mask_stay_the_ends(tmp_path):
    """Logits of 0 and 1 are infinite; what comes back must be 0 and 1 all the same."""
    segmenter = Segmenter(write(tmp_path / "hard.onnx", SIGMOID))
    tensor = np.full((2, 3, 32, 32), 50, np.float32) * np.float32([-1, 1])[:, None, None, None]

    logits = segmenter.logits(tensor).astype(np.float64)

    np.testing.assert_allclose(1 / (1 + np.exp(-logits[0])), 0, atol=1e-7)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits[1])), 1, atol=1e-7)


@pytest.mark.parametrize(
    ("tail", "kind"),
    [
        ((("Identity", "logits", "mask"),), "logits"),
        ((("Relu", "logits", "mask"),), "logits"),
        (SIGMOID, "mask"),
        ((("HardSigmoid", "logits", "mask"),), "mask"),
        ((("Sigmoid", "logits", "a"), ("Identity", "a", "b"), ("Identity", "b", "mask")), "mask"),
        ((("Sigmoid", "logits", "a"), ("Neg", "a", "mask")), "logits"),
    ],
)
def test_the_last_operators_tell_a_mask_from_logits(tmp_path, tail, kind):
    path = write(tmp_path / "m.onnx", tail)

    assert output_kind(ModelFile(path), "mask") == kind


def test_half_precision_inputs_are_fed_half_precision(tmp_path, picture):
    """As onnx-community's model_fp16.onnx may be."""
    whole = at_64(write(tmp_path / "whole.onnx"))
    half = at_64(write(tmp_path / "half.onnx", half=True))

    logits = half.logits(np.ones((1, 3, 32, 32), np.float32))

    assert logits.dtype == np.float32
    np.testing.assert_allclose(half(picture), whole(picture), atol=2e-3)


def test_among_several_outputs_the_one_of_the_images_size_counts(tmp_path, picture):
    """As a graph exported with its side outputs has them."""
    path = write(tmp_path / "deep.onnx", outputs=("m4", "mask", "m3"), small=("m4", "m3"))

    assert Segmenter(path)._signature.output == "mask"
    assert at_64(path)(picture).shape == (48, 80)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"outputs": ("m4", "m3"), "small": ("m4", "m3")}, "wanted one float .* found m4"),
        ({"shape": ("b", 4, "h", "w"), "tail": ()}, "wanted one float"),
        ({"shape": (1, 3, 64, "w")}, "half fixed: 64xw"),
    ],
)
def test_a_graph_that_can_not_be_served_says_what_it_has(tmp_path, options, says):
    with pytest.raises(ModelError, match=says):
        Segmenter(write_any(tmp_path / "m.onnx", **options))


def write_any(path: Path, **options) -> Path:
    """`write`, also for a graph of another number of channels."""
    if options.get("shape", FREE)[1] == 3:
        return write(path, **options)
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, options["shape"])
    mask = helper.make_tensor_value_info("y", TensorProto.FLOAT, options["shape"])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [image], [mask])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


PROCESSOR = {
    "do_normalize": True,
    "do_rescale": True,
    "rescale_factor": 0.00392156862745098,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [1.0, 1.0, 1.0],
    "size": {"height": 64, "width": 32},
}


@pytest.mark.parametrize("place", ["onnx/model_fp16.onnx", "model.onnx"])
def test_a_hub_folder_brings_its_own_preprocessing(tmp_path, place, picture):
    write(tmp_path / place)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))

    segmenter = Segmenter(tmp_path)

    assert segmenter.metadata.mean == (0.5, 0.5, 0.5)
    assert segmenter.metadata.std == (1.0, 1.0, 1.0)
    assert segmenter.metadata.trained_size == (64, 32)
    np.testing.assert_allclose(segmenter(picture)[:, :12], 1 / (1 + np.exp(-4 * 0.5)), atol=1e-4)


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"size": 96}, {"trained_size": (96, 96)}),
        ({"do_normalize": False}, {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}),
        ({"size": None, "image_mean": None}, {"trained_size": (1024, 1024)}),
    ],
)
def test_other_preprocessing_files(tmp_path, change, facts):
    path = write(tmp_path / "model.onnx")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR | change))

    metadata = Segmenter(path).metadata

    assert {key: getattr(metadata, key) for key in facts} == facts


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "can't be read as JSON"),
        ("[]", "holds no JSON object"),
        (json.dumps(PROCESSOR | {"size": {"shortest_edge": 5}}), "can't be read"),
        (json.dumps(PROCESSOR | {"image_mean": [1, 2]}), "can't be read"),
        (json.dumps(PROCESSOR | {"rescale_factor": 1.0}), "scaled by 1; only 1/255"),
        (json.dumps(PROCESSOR | {"do_rescale": False}), "scaled by 1; only 1/255"),
        ('{"rescale_factor": Infinity}', "scaled by inf; only 1/255"),
        ('{"size": 0}', "no side from 1 to 16,384"),
        ('{"size": true}', "no side from 1 to 16,384"),
        ('{"size": 64.5}', "no side from 1 to 16,384"),
        ('{"size": {"height": Infinity, "width": 5}}', "no side from 1 to 16,384"),
        ('{"size": {"height": 1000000000, "width": 1000000000}}', "no side from 1 to 16,384"),
        ('{"image_std": [0, 0, 0]}', "no numbers from 1e-06"),
        ('{"image_mean": [NaN, 0, 0]}', "no numbers from -1000"),
        ("[" * 100_000, "can't be read as JSON: nested too deeply"),
        (" " * 1_000_001, "can't be read as JSON: more than 1,000,000 characters"),
    ],
)
def test_a_preprocessing_file_that_can_not_be_followed_is_named(tmp_path, content, says):
    path = write(tmp_path / "model.onnx")
    (tmp_path / "preprocessor_config.json").write_text(content)

    with pytest.raises(ModelError, match=f"preprocessor_config.json: .*{says}"):
        Segmenter(path)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                *("size", "image_mean", "image_std", "rescale_factor"),
                *("do_rescale", "do_normalize"),
            ]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, min_size=3, max_size=3)
                | st.fixed_dictionaries({"height": inner, "width": inner})
            ),
            max_leaves=4,
        ),
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_preprocessing_file_gives_facts_in_bounds_or_a_model_error(tmp_path, config):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    try:
        facts = preprocessing_facts(tmp_path / "model.onnx")
    except ModelError:
        return
    assert set(facts) <= {"trained_size", "mean", "std"}
    assert all(1 <= side <= 16_384 for side in facts.get("trained_size", ()))
    assert all(0 < deviation <= 1000 for deviation in facts.get("std", ()))


def test_a_size_that_the_network_cannot_run_at_is_refused(tmp_path):
    path = write(tmp_path / "model.onnx")
    (tmp_path / "preprocessor_config.json").write_text('{"size": 16}')

    with pytest.raises(ModelError, match=r"trained at 16x16, .* multiples of"):
        Segmenter(path, size="auto")


def test_a_file_of_ours_counts_for_more_than_what_lies_beside_it(tmp_path):
    path = write(tmp_path / "onnx" / "model.onnx", facts=FACTS)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))

    assert Segmenter(path).metadata.trained_size == (64, 64)
    assert Segmenter(path).metadata.std == (0.25, 0.25, 0.25)
