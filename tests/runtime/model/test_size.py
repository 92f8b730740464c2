import math

import pytest
from birefnet_runtime.errors import SizeError
from birefnet_runtime.model.size import auto_size, check_size, parse_size, quality_note
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "size"),
    [("auto", "auto"), ("512", 512), ("1440x2560", (1440, 2560)), ("32X64", (32, 64))],
)
def test_parse_size_reads_what_people_type(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "x", "512x", "x512", "1x2x3", "-32", "5.5", "Auto", "32 x 32"]
)
def test_parse_size_refuses_the_rest(text):
    with pytest.raises(SizeError, match="give N, HxW"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "nearest"),
    [((100, 64), "96x64"), ((64, 112), "64x128"), ((1, 1), "32x32"), ((0, 32), "32x32")],
)
def test_a_size_off_the_grid_is_refused_with_the_nearest(size, nearest):
    with pytest.raises(SizeError, match=f"the nearest is {nearest}"):
        check_size(size, 32)


@given(
    st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)),
    st.sampled_from([(1024, 1024), (1440, 2560), (192, 192), (32, 32)]),
)
def test_auto_stays_on_the_grid_and_within_the_budget(image_size, budget):
    height, width = auto_size(image_size, budget, 32)

    assert height % 32 == 0
    assert width % 32 == 0
    assert height >= 32
    assert width >= 32
    assert height * width <= budget[0] * budget[1]


@given(st.floats(0.4, 2.5), st.integers(300, 6000))
def test_auto_keeps_the_aspect_ratio_as_far_as_the_grid_allows(aspect, height):
    image_size = (height, round(height * aspect))
    model_height, model_width = auto_size(image_size, (1024, 1024), 32)

    wanted = image_size[1] / image_size[0]
    # Each side is off by half a step of the grid at most, the long one by one more for the budget.
    off = math.log((model_width / model_height) / wanted)
    assert abs(off) <= math.log((1 + 48 / min(model_height, model_width)) ** 2)
    assert model_height * model_width > 0.85 * 1024 * 1024


@pytest.mark.parametrize(
    ("image_size", "size"),
    [
        ((1080, 1920), (768, 1344)),
        ((1920, 1080), (1344, 768)),
        ((3000, 3000), (1024, 1024)),
        ((10, 10), (1024, 1024)),
        ((1, 4000), (32, 32768)),
    ],
)
def test_auto_by_example(image_size, size):
    assert auto_size(image_size, (1024, 1024), 32) == size


def test_a_size_beyond_all_bounds_is_refused():
    with pytest.raises(SizeError, match=r"32x1000000000 .* up to 16,384"):
        check_size((32, 1_000_000_000), 32)
    for text in ("32x1000000000", "9" * 5000, "0x32", "16385"):
        with pytest.raises(SizeError, match="with sides from 1 to 16,384"):
            parse_size(text)


@pytest.mark.parametrize(
    ("size", "trained_range", "says"),
    [
        ((1024, 1024), None, None),
        ((704, 1024), None, None),
        ((512, 512), None, "parts of the subject may be lost"),
        ((2048, 2048), None, "holes or only in part"),
        ((256, 256), ((256, 256), (2304, 2304)), None),
        ((224, 224), ((256, 256), (2304, 2304)), "trained from 256x256 to 2304x2304; at 224x224"),
    ],
)
def test_the_note_on_quality(size, trained_range, says):
    note = quality_note(size, (1024, 1024), trained_range)

    if says is None:
        assert note is None
    else:
        assert says in note
