import pytest
from birefnet_runtime.errors import ModelError
from birefnet_runtime.model.metadata import ModelMetadata, read_metadata


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
    ],
)
def test_damaged_facts_are_an_error_that_shows_them(key, value):
    with pytest.raises(ModelError, match=f"birefnet.{key} = "):
        read_metadata({f"birefnet.{key}": value})
