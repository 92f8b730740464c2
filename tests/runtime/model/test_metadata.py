import math

import pytest
from birefnet_runtime import Segmenter
from birefnet_runtime.errors import ModelError
from birefnet_runtime.model.metadata import ModelMetadata, read_metadata
from birefnet_runtime.model.size import auto_size
from hypothesis import given
from hypothesis import strategies as st


def test_a_file_without_facts_gets_upstreams_defaults():
    assert read_metadata({"other": "x"}) == ModelMetadata(
        trained_size=(1024, 1024),
        trained_range=None,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        size_multiple=32,
    )


def test_facts_are_read():
    facts = {
        "birefnet.format": "1",
        "birefnet.trained_size": "1440x2560",
        "birefnet.trained_range": "256x256-2304x2304",
        "birefnet.mean": "[0.1, 0.2, 0.3]",
        "birefnet.std": "[0.4, 0.5, 0.6]",
        "birefnet.resize": "stretch-bilinear-antialias",
        "birefnet.output": "logits",
        "birefnet.size_multiple": "64",
        "birefnet.checkpoint": "model.safetensors",
    }

    assert read_metadata(facts) == ModelMetadata(
        is_stated=True,
        trained_size=(1440, 2560),
        trained_range=((256, 256), (2304, 2304)),
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
        size_multiple=64,
    )


@pytest.mark.parametrize(
    ("key", "value"), [("format", "2"), ("output", "mask"), ("resize", "letterbox")]
)
def test_what_this_runtime_does_not_do_is_refused(key, value):
    with pytest.raises(ModelError, match=f"birefnet.{key} = '{value}'"):
        read_metadata({f"birefnet.{key}": value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trained_size", "1024"),
        ("trained_range", "256x256"),
        ("mean", "[0.1, 0.2]"),
        ("mean", "0.5"),
        ("std", "oops"),
        ("size_multiple", "0"),
        ("size_multiple", "many"),
        ("size_multiple", "1000000000"),
        ("trained_size", "0x0"),
        ("trained_size", "-1x-1"),
        ("trained_size", "1000000000x1000000000"),
        ("trained_size", f"{'9' * 5000}x32"),
        ("trained_range", "900x900-100x100"),
        ("trained_range", "0x0-64x64"),
        ("mean", "[NaN, NaN, NaN]"),
        ("mean", "[1e400, 0, 0]"),
        ("mean", '["a", 1, 2]'),
        ("mean", "[" * 100_000),
        ("std", "[0, 0, 0]"),
        ("std", "[Infinity, 1, 1]"),
        ("activation_bytes_per_pixel", "abc"),
        ("activation_bytes_per_pixel", "nan"),
        ("activation_bytes_per_pixel", "-1e12"),
        ("attention_bytes", "96"),
        ("attention_bytes", "[96]"),
        ("attention_bytes", "[96, -1]"),
        ("attention_bytes", "[96, null]"),
        ("attention_bytes", '{"a": 1, "b": 2}'),
    ],
)
def test_damaged_facts_are_an_error_that_shows_them(key, value):
    with pytest.raises(ModelError, match=f"birefnet.{key} = ") as caught:
        read_metadata({f"birefnet.{key}": value})
    assert len(str(caught.value)) < 200


def test_a_trained_size_below_the_multiple_is_refused():
    """At `auto` there would be no size within its number of pixels."""
    with pytest.raises(ModelError, match=r"trained at 16x16, .* multiples of 3"):
        read_metadata({"birefnet.trained_size": "16x16"})
    read_metadata({"birefnet.trained_size": "16x16", "birefnet.size_multiple": "8"})


def test_control_characters_are_escaped():
    with pytest.raises(ModelError) as caught:
        read_metadata({"birefnet.format": "\x1b[2J\n\nbirefnet: fine"})

    assert str(caught.value).isprintable()


FACTS = st.sampled_from(
    [
        *("trained_size", "trained_range", "mean", "std", "size_multiple"),
        *("activation_bytes_per_pixel", "attention_bytes", "format", "resize", "output"),
    ]
)
TEXTS = (
    st.text()
    | st.from_regex(r"-?\d{1,12}x\d{1,12}(-\d{1,5}x\d{1,5})?")
    | st.from_regex(r"\[(-?\d{1,3}(\.\d)?(e\d{1,3})?|NaN|Infinity)(, ?\d){0,3}\]")
)


@given(st.dictionaries(FACTS.map("birefnet.{}".format), TEXTS))
def test_any_facts_give_metadata_that_can_be_run_or_a_model_error(properties):
    try:
        metadata = read_metadata(properties)
    except ModelError:
        return
    least = metadata.size_multiple
    height, width = auto_size((1000, 3), metadata.trained_size, least)
    assert height % least == width % least == 0
    assert 0 < height * width <= metadata.trained_size[0] * metadata.trained_size[1]
    assert all(math.isfinite(channel) for channel in metadata.mean)
    assert min(metadata.std) > 0


def test_metadata_that_is_no_text_is_one_line(make_model):
    model = make_model()
    content = model.read_bytes()
    assert content.count(b"birefnet.mean") == 1
    model.write_bytes(content.replace(b"birefnet.mean", b"birefnet.me\xf5n"))

    with pytest.raises(ModelError, match=r"made\.onnx: damaged: its metadata"):
        Segmenter(model)
