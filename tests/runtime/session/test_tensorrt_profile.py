import pytest
from birefnet_runtime import ModelMetadata, SizeError
from birefnet_runtime.session.providers import Profile, check_fits, covers, describe, fits
from birefnet_runtime.session.tensorrt import derive_profile

SQUARE = ModelMetadata(trained_size=(1024, 1024))
WIDE = ModelMetadata(trained_size=(1440, 2560))
ONE = Profile(smallest=(1, 1024, 1024), best=(1, 1024, 1024), largest=(1, 1024, 1024))
MANY = Profile(smallest=(1, 512, 512), best=(4, 1024, 1024), largest=(4, 1024, 2048))


def test_the_trained_size_alone_by_default():
    assert derive_profile(SQUARE) == ONE
    assert derive_profile(WIDE).best == (1, 1440, 2560)


def test_the_sizes_that_are_named_span_it_and_the_first_is_best():
    profile = derive_profile(SQUARE, [1024, (512, 2048), (768, 512)], batch=4)

    assert profile == Profile(smallest=(1, 512, 512), best=(4, 1024, 1024), largest=(4, 1024, 2048))


def test_auto_spans_the_usual_aspect_ratios():
    profile = derive_profile(SQUARE, ["auto"])

    assert profile.best == (1, 1024, 1024)
    # 1:2 of 1024 x 1024 pixels is 724 x 1448; on the grid 736 x 1408 has no more pixels.
    assert profile.smallest == (1, 736, 736)
    assert profile.largest == (1, 1408, 1408)


def test_a_size_off_the_grid_is_refused():
    with pytest.raises(SizeError, match="multiples of 32"):
        derive_profile(SQUARE, [1000])


@pytest.mark.parametrize(
    ("shape", "inside"),
    [
        ((1, 512, 512), True),
        ((4, 1024, 2048), True),
        ((5, 1024, 1024), False),
        ((1, 480, 512), False),
        ((1, 1024, 2080), False),
    ],
)
def test_what_fits(shape, inside):
    assert fits(MANY, shape) is inside


def test_a_wider_profile_covers_a_narrower_one():
    assert covers(MANY, ONE)
    assert covers(ONE, ONE)
    assert not covers(ONE, MANY)
    lower = Profile(smallest=(1, 480, 512), best=ONE.best, largest=ONE.largest)
    assert not covers(MANY, lower), "its smallest shape counts as well"
    higher = Profile(smallest=ONE.smallest, best=ONE.best, largest=(1, 1024, 2080))
    assert not covers(MANY, higher)


def test_a_shape_outside_is_refused_with_the_range_and_the_command():
    check_fits(MANY, (2, 1024, 1024))

    with pytest.raises(SizeError) as caught:
        check_fits(MANY, (8, 2048, 1024))

    assert str(caught.value) == (
        "a batch of 8 at 2048x1024 lies outside what this TensorRT engine was built for (1 to 4 at "
        "512x512 to 1024x2048); build one for it: birefnet warm --size 2048x1024 --batch 8"
    )
    assert describe(ONE) == "1 at 1024x1024"
