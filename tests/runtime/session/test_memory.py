"""Settings and limits of memory: estimates, choices, refusals."""

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from birefnet_models.zoo import all_cards, embedded_path
from birefnet_runtime import trial
from birefnet_runtime.errors import MemoryLimitError, ModelError, SizeError
from birefnet_runtime.machine import rss_bytes
from birefnet_runtime.model.locate import ModelFile
from birefnet_runtime.session.memory import (
    SETTINGS,
    Footprint,
    choose,
    parse_bytes,
    stated_footprint,
    what_fits,
)
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


PLACE = ModelFile(Path("model.onnx"))


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

    assert three - one == pytest.approx(2 * 353 * 512 * 768 * 1.2)


def test_attention_that_grows_with_the_square_counts_where_it_is_larger(tmp_path):
    file = model(
        tmp_path, format="1", activation_bytes_per_pixel="340", attention_bytes="[96, 4.6e-05]"
    )
    footprint = stated_footprint(ModelFile(file))
    assert footprint.attention == (96, 4.6e-05)
    linear = Footprint(footprint.weights_bytes, False, 340, (1024, 1024), 32)

    def tensors(of: Footprint, side: int, batch: int = 1) -> float:
        return of.peak_bytes((side, side), "low", batch) - of.peak_bytes((0, 0), "low")

    assert tensors(footprint, 1024) == tensors(linear, 1024)
    assert tensors(footprint, 4096) == pytest.approx(1.2 * (96 * 4096**2 + 4.6e-05 * 4096**4))
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


def test_a_file_says_what_it_needs(tmp_path):
    file = model(tmp_path, format="1", activation_bytes_per_pixel="353", trained_size="512x768")

    found = stated_footprint(ModelFile(file))

    assert found == Footprint(file.stat().st_size, False, 353.0, (512, 768), 32)
    assert stated_footprint(ModelFile(model(tmp_path, format="1"))) is None


@pytest.mark.parametrize(
    ("limit", "memory"), [(2e9, "fast"), (0.92e9, "balanced"), (0.86e9, "low")]
)
def test_a_limit_takes_the_fastest_that_fits(limit, memory):
    choice = choose(PLACE, LITE, None, limit)

    assert (choice.memory, choice.size) == (memory, None)
    assert choice.estimate_bytes <= limit


def test_lite_and_a_photograph_of_12_megapixels_fit_in_1_GB():
    """At the full size; both together took 931 MB, the photograph alone up to 204 MB."""
    assert choose(PLACE, LITE, None, 1e9, 204e6).size is None
    assert choose(PLACE, LITE, 1024, 1e9, 204e6).memory == "low"


@pytest.mark.parametrize("pictures", [0, 220e6])
def test_then_the_largest_size_that_fits_with_pictures(pictures):
    choice = choose(PLACE, LITE, None, 0.7e9, pictures)

    height, width = choice.size
    assert height == width < 1024
    assert height % 32 == 0
    assert choice.estimate_bytes + pictures <= 0.7e9
    assert LITE.peak_bytes((height + 32, width + 32), "low") + pictures > 0.7e9


@pytest.mark.parametrize(("size", "chosen"), [(None, (512, 512)), (1024, 1024)])
def test_where_nothing_leaves_enough_for_pictures_most_is_left(size, chosen):
    choice = choose(PLACE, LITE, size, 0.9e9, 800e6)

    assert (choice.memory, choice.size) == ("low", chosen)


@pytest.mark.parametrize("pictures", [150e6, 250e6, 300e6])
@pytest.mark.parametrize("limit", [650e6, 700e6, 800e6, 900e6])
@pytest.mark.parametrize("side", [768, 1024])
def test_what_is_advised_for_a_picture_makes_it_fit(side, limit, pictures):
    advice = what_fits(LITE, side, limit, pictures)

    if "--size" in advice:
        size, most = int(advice.partition("--size ")[2].split()[0]), limit
    else:
        size, most = side, parse_bytes(advice.partition("--max-memory ")[2])
    choice = choose(PLACE, LITE, size, most, pictures)
    assert choice.estimate_bytes + pictures <= most


@pytest.mark.parametrize("size", [1024, (1024, 1024), "auto"])
def test_a_size_that_was_asked_for_is_kept_or_refused(size):
    assert choose(PLACE, LITE, size, 2e9).size == size
    with pytest.raises(MemoryLimitError, match=r"at 1024x1024 .* 7\d\d MB; --size 608 fits"):
        choose(PLACE, LITE, size, 0.51e9)
    assert choose(PLACE, LITE, 608, 0.51e9).estimate_bytes <= 0.51e9


@pytest.mark.parametrize(
    ("memory", "limit", "advice"),
    [("fast", 0.9e9, "memory low fits"), (None, 0.2e9, "raise the limit")],
)
def test_nothing_that_fits_is_an_error_with_the_numbers(memory, limit, advice):
    size = 1024 if memory else None
    with pytest.raises(MemoryLimitError, match=f"model.onnx doesn't fit in .*{advice}"):
        choose(PLACE, LITE, size, limit, memory=memory)


def test_a_graph_of_one_size_is_given_no_other():
    fixed = replace(LITE, fixed=True)

    with pytest.raises(MemoryLimitError, match="at 1024x1024"):
        choose(PLACE, fixed, None, LITE.peak_bytes((512, 512), "low"))


def test_a_size_that_cannot_be_is_refused_first():
    with pytest.raises(SizeError, match="multiples of 32"):
        choose(PLACE, LITE, 1000, 2e9)


@pytest.fixture
def silent(tmp_path, monkeypatch) -> ModelFile:
    """nano as another tool would have written it: it says nothing of itself."""
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    made = onnx.load(embedded_path(next(card for card in all_cards() if card.name == "nano")))
    stated = {entry.key: entry.value for entry in made.metadata_props}
    del made.metadata_props[:]
    onnx.save(made, tmp_path / "model.onnx")
    file = ModelFile(tmp_path / "model.onnx")
    file.stated = float(stated["birefnet.activation_bytes_per_pixel"])
    return file


def test_a_file_that_says_nothing_is_run_once(silent, monkeypatch):
    found = trial.footprint_of(silent, 2e9)

    assert 0.8 * silent.stated < found.bytes_per_pixel < 1.6 * silent.stated
    assert (found.trained_size, found.fixed) == ((1024, 1024), False)
    monkeypatch.setattr(trial.subprocess, "run", lambda *_, **__: pytest.fail("twice"))
    assert trial.footprint_of(silent, 2e9) == found


def test_a_trial_ends_before_it_takes_more_than_it_may(silent):
    limit = (rss_bytes() or 0) + 90e6

    with pytest.raises(MemoryLimitError, match=r"model\.onnx .*a trial .* 90 MB"):
        trial.footprint_of(silent, limit)
    assert trial.footprint_of(silent, 2e9).bytes_per_pixel > 0  # and nothing was noted


def test_a_file_that_cannot_run_is_named_by_its_trial(tmp_path, monkeypatch):
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "model.onnx"
    file.write_bytes(model(tmp_path).read_bytes()[:-9])

    with pytest.raises(ModelError, match=r"model\.onnx"):
        trial.footprint_of(ModelFile(file), 2e9)


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
    with pytest.raises(MemoryLimitError, match=r"not an amount .*; give 500KB"):
        parse_bytes(text)
