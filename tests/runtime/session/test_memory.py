"""Settings and limits of memory: estimates, choices, refusals."""

from pathlib import Path

import onnx
import pytest
from birefnet_runtime.errors import MemoryLimitError, ModelError, SizeError
from birefnet_runtime.model.locate import ModelFile
from birefnet_runtime.session.memory import SETTINGS, Footprint, choose, parse_bytes, read_footprint
from onnx import TensorProto, helper

LITE = Footprint(
    weights_bytes=178_000_000,
    external=False,
    bytes_per_pixel=353,
    trained_size=(1024, 1024),
    size_multiple=32,
)


def model(folder: Path, **facts: str) -> Path:
    """An `.onnx` file that says these things of itself."""
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])
    logits = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 32, 32])
    node = helper.make_node("Identity", ["x"], ["y"])
    made = helper.make_model(helper.make_graph([node], "g", [image], [logits]))
    helper.set_model_props(made, {f"birefnet.{key}": value for key, value in facts.items()})
    onnx.save(made, folder / "model.onnx")
    return folder / "model.onnx"


@pytest.fixture
def lite(tmp_path: Path) -> Path:
    """A small file that claims to be lite, its weights (holes on the disk) beside it."""
    file = model(tmp_path, format="1", activation_bytes_per_pixel="353", trained_size="1024x1024")
    with (tmp_path / "model.onnx_data").open("wb") as weights:
        weights.truncate(178_000_000)
    return file


def test_each_setting_takes_less_than_the_one_before_it():
    estimates = [LITE.peak_bytes((1024, 1024), memory) for memory in SETTINGS]

    assert list(SETTINGS) == ["fast", "balanced", "low"]
    assert estimates == sorted(estimates, reverse=True)
    assert len(set(estimates)) == 3


def test_low_gives_memory_back_after_each_run():
    assert SETTINGS["low"].shrink_arena
    assert not SETTINGS["balanced"].shrink_arena


def test_each_image_of_a_batch_takes_its_own_tensors():
    one, three = (LITE.peak_bytes((512, 768), "low", batch=batch) for batch in (1, 3))

    assert three - one == pytest.approx(2 * 353 * 512 * 768 * 1.3)


def test_attention_that_grows_with_the_square_counts_where_it_is_larger(tmp_path):
    file = model(
        tmp_path, format="1", activation_bytes_per_pixel="340", attention_bytes="[96, 4.6e-05]"
    )
    footprint = read_footprint(ModelFile(file))
    assert footprint.attention == (96, 4.6e-05)
    linear = Footprint(footprint.weights_bytes, False, 340, (1024, 1024), 32)

    def tensors(of: Footprint, side: int, batch: int = 1) -> float:
        return of.peak_bytes((side, side), "low", batch) - of.peak_bytes((0, 0), "low")

    assert tensors(footprint, 1024) == tensors(linear, 1024)
    assert tensors(footprint, 4096) == pytest.approx(1.3 * (96 * 4096**2 + 4.6e-05 * 4096**4))
    # Each image of a batch has its own tokens.
    assert tensors(footprint, 4096, batch=2) == pytest.approx(2 * tensors(footprint, 4096))


@pytest.mark.parametrize(
    ("size", "memory", "external", "measured_mb"),
    [
        ((512, 512), "balanced", True, 372),
        ((1024, 1024), "fast", False, 830),
        ((1024, 1024), "balanced", True, 733),
        ((1024, 1024), "low", True, 699),
        ((2048, 2048), "fast", False, 2165),
        ((2048, 2048), "balanced", True, 2144),
        ((2048, 2048), "low", True, 1935),
    ],
)
def test_an_estimate_lies_above_what_was_measured_but_not_far(size, memory, external, measured_mb):
    """Peak RSS of ONNX Runtime alone, Swin T; a whole program takes some 68 MB more."""
    footprint = Footprint(178_000_000, external, 353, (1024, 1024), 32)

    assert measured_mb + 68 < footprint.peak_bytes(size, memory) / 1e6 < 1.3 * (measured_mb + 68)


@pytest.mark.parametrize(
    ("size", "memory", "external", "measured_mb"),
    [
        ((512, 512), "balanced", True, 1337),
        ((512, 512), "balanced", False, 1386),
        ((1024, 1024), "balanced", True, 2339),
        ((1024, 1024), "balanced", False, 2379),
        ((1024, 1024), "fast", True, 2333),
        ((1024, 1024), "fast", False, 2902),
    ],
)
def test_so_it_does_for_a_large_backbone(size, memory, external, measured_mb):
    """The same, Swin L."""
    footprint = Footprint(926_000_000, external, 976, (1024, 1024), 32)

    assert measured_mb + 68 < footprint.peak_bytes(size, memory) / 1e6 < 1.3 * (measured_mb + 68)


@pytest.mark.parametrize(
    ("weights_mb", "size", "memory", "external", "measured_mb"),
    [
        (64, (512, 512), "low", True, 335),
        (64, (1024, 1024), "low", True, 654),
        (64, (1024, 1024), "balanced", True, 703),
        (64, (1024, 1024), "fast", False, 751),
        (164, (512, 512), "low", True, 439),
        (164, (1024, 1024), "low", True, 760),
    ],
)
def test_so_it_does_for_pvt_v2(weights_mb, size, memory, external, measured_mb):
    """Peak RSS of `birefnet cutout` with PVT v2 b0 and b2."""
    footprint = Footprint(weights_mb * 1_000_000, external, 339, (1024, 1024), 32)

    assert measured_mb < footprint.peak_bytes(size, memory) / 1e6 < 1.2 * measured_mb


def test_a_file_says_what_it_needs(lite):
    footprint = read_footprint(ModelFile(lite))

    assert footprint == Footprint(178_000_000, True, 353.0, (1024, 1024), 32)


def test_a_file_that_says_nothing_cannot_be_limited(tmp_path):
    file = model(tmp_path, format="1")

    with pytest.raises(ModelError, match=r"doesn't say how much memory.*`birefnet export`"):
        choose(ModelFile(file), None, 1e9)


@pytest.mark.parametrize(
    ("limit", "memory"), [(2e9, "fast"), (0.92e9, "balanced"), (0.86e9, "low")]
)
def test_a_limit_takes_the_fastest_that_fits(lite, limit, memory):
    choice = choose(ModelFile(lite), None, limit)

    assert (choice.memory, choice.size) == (memory, None)
    assert choice.estimate_bytes <= limit


def test_then_the_largest_size_that_fits(lite):
    choice = choose(ModelFile(lite), None, 0.6e9)

    height, width = choice.size
    assert height == width < 1024
    assert height % 32 == 0
    assert choice.estimate_bytes <= 0.6e9
    assert read_footprint(ModelFile(lite)).peak_bytes((height + 32, width + 32), "low") > 0.6e9


@pytest.mark.parametrize("size", [1024, (1024, 1024), "auto"])
def test_a_size_that_was_asked_for_is_kept_or_refused(lite, size):
    assert choose(ModelFile(lite), size, 2e9).size == size
    with pytest.raises(MemoryLimitError, match=r"at 1024x1024 it takes up to 8\d\d MB"):
        choose(ModelFile(lite), size, 0.5e9)


def test_nothing_that_fits_is_an_error_with_the_numbers(lite):
    with pytest.raises(MemoryLimitError) as caught:
        choose(ModelFile(lite), None, 200e6)

    assert "model.onnx doesn't fit in 200 MB: at 512x512 it takes up to" in str(caught.value)


def test_a_size_that_cannot_be_is_refused_first(lite):
    with pytest.raises(SizeError, match="multiples of 32"):
        choose(ModelFile(lite), 1000, 2e9)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1GB", 1e9),
        ("800MB", 8e8),
        ("1.5 GiB", 1.5 * 2**30),
        ("512m", 512e6),
        ("900000000", 9e8),
        ("500KB", 5e5),
        ("64 KiB", 65536),
        ("2k", 2000),
        ("1TB", 1e12),
        (".5GB", 5e8),
        ("7B", 7),
    ],
)
def test_amounts_are_read_with_their_unit(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    "text", ["", "much", "-1GB", "nan", "inf", "0", "1 G i B", "GB", "1KiBB", "0x10"]
)
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(MemoryLimitError, match="is not an amount of memory; give 500KB"):
        parse_bytes(text)
