import io
from statistics import NormalDist

import numpy as np
import pytest
from birefnet_runtime import Blur, Color, ImageBackground, ImageError, Style, compose
from birefnet_runtime.cutout.background import parse_background
from birefnet_runtime.images import picture as module
from birefnet_runtime.images.picture import Picture
from PIL import Image

SUBJECT = (200, 120, 40)


@pytest.fixture
def alpha() -> np.ndarray:
    """float32 (60, 90): 1 in a block, a half to its right, else 0."""
    alpha = np.zeros((60, 90), np.float32)
    alpha[20:40, 30:50] = 1
    alpha[20:40, 50:60] = 0.5
    return alpha


@pytest.fixture
def picture(alpha) -> Picture:
    """The subject before blue."""
    mixed = alpha[..., None] * np.array(SUBJECT) + (1 - alpha[..., None]) * np.array((0, 0, 255))
    return Picture(np.rint(mixed).astype(np.uint8))


def deep(picture: Picture) -> Picture:
    return Picture(picture.pixels.astype(np.uint16) * 257)


def test_a_cutout_by_default(picture, alpha):
    result = compose(picture, alpha)

    assert (result.pixels.shape, result.pixels.dtype) == ((60, 90, 4), np.uint8)
    np.testing.assert_array_equal(result.pixels[..., 3], np.rint(alpha * 255))
    np.testing.assert_array_equal(result.pixels[20:40, 30:50, :3], picture.pixels[20:40, 30:50])
    np.testing.assert_allclose(result.pixels[25:35, 52:58, :3].mean((0, 1)), SUBJECT, atol=20)
    assert result.subject.box == (20, 30, 40, 60)


def test_without_estimation_the_colors_are_the_pictures(picture, alpha):
    result = compose(picture, alpha, Style(foreground="none"))

    np.testing.assert_array_equal(result.pixels[..., :3], picture.pixels)


def test_sixteen_bits_stay_and_eight_can_be_asked_for(picture, alpha):
    whole = compose(deep(picture), alpha)
    half = compose(deep(picture), alpha, Style(depth=8))

    assert whole.pixels.dtype == np.uint16
    assert whole.pixels[30, 55, 3] == 32768
    assert half.pixels.dtype == np.uint8
    np.testing.assert_allclose(half.pixels, compose(picture, alpha).pixels, atol=1)
    assert compose(picture, alpha, Style(depth=16)).pixels.dtype == np.uint16


@pytest.mark.parametrize(("depth", "white"), [(None, 255), (8, 255), (16, 65535)])
def test_the_mask_alone(picture, alpha, depth, white):
    result = compose(deep(picture), alpha, Style(mask=True, depth=depth))

    np.testing.assert_array_equal(result.pixels, np.rint(alpha * white))
    assert result.profile is None


def test_a_masks_levels_are_rounded():
    alpha = np.array([[0, 0.001, 0.002, 0.5, 0.9985, 1]], np.float32)
    picture = Picture(np.zeros((1, 6, 3), np.uint8))

    mask = compose(picture, alpha, Style(mask=True)).pixels

    assert mask.tolist() == [[0, 0, 1, 128, 255, 255]]


def test_existing_alpha_is_multiplied_in(picture, alpha):
    opacity = np.full(alpha.shape, 51, np.uint8)

    result = compose(Picture(picture.pixels, opacity), alpha, Style(mask=True))

    assert result.pixels[30, 40] == 51
    assert result.pixels[30, 55] in (25, 26)
    assert not result.subject.found, "too faint to be one"


def test_a_color_behind_it(picture, alpha):
    result = compose(picture, alpha, Style(background=Color((10, 200, 30))))

    assert result.pixels.shape == (60, 90, 3)
    assert result.pixels[0, 0].tolist() == [10, 200, 30]
    np.testing.assert_array_equal(result.pixels[25, 35], SUBJECT)
    middle = np.mean([SUBJECT, (10, 200, 30)], axis=0)
    np.testing.assert_allclose(result.pixels[25:35, 52:58].mean((0, 1)), middle, atol=10)


def test_a_color_behind_sixteen_bits(picture, alpha):
    result = compose(deep(picture), alpha, Style(background=Color((10, 200, 30))))

    assert result.pixels[0, 0].tolist() == [257 * 10, 257 * 200, 257 * 30]


def test_an_image_covers_the_frame_and_keeps_its_shape(picture, alpha):
    """Twice as wide as high, on 3:2: the left and right eighth are cut off."""
    wide = np.zeros((100, 200, 3), np.uint8)
    wide[:, :25] = (255, 0, 0)
    wide[:, 175:] = (255, 0, 0)
    wide[45:55] = (0, 255, 0)

    filled = ImageBackground(wide).fill(picture, alpha, picture.size)

    assert filled.shape == picture.pixels.shape
    assert filled[5, 2:-2].max() == 0
    assert filled[30, 45].tolist() == [0, 255, 0]


def test_a_blur_has_no_subject_in_it(picture, alpha):
    filled = Blur().fill(picture, alpha, picture.size)

    np.testing.assert_allclose(filled[:, :25], (0, 0, 255) * np.ones((60, 25, 1)), atol=12)
    assert filled[30, 29, 0] < 12, "blue right beside where the subject stood"
    assert filled[30, 55, 0] < 150, "and below where it is half transparent"


def test_a_blur_has_nothing_of_a_wide_subject_either():
    """Wider than the blur reaches; a canvas may show the place where it stood."""
    alpha = np.zeros((400, 600), np.float32)
    alpha[50:350, 100:500] = 1
    mixed = np.where(alpha[..., None] > 0, SUBJECT, (0, 0, 255)).astype(np.uint8)

    for dtype, scale in ((np.uint8, 1), (np.uint16, 257)):
        picture = Picture(mixed.astype(dtype) * dtype(scale))
        filled = Blur().fill(picture, alpha, (200, 300)) / scale
        np.testing.assert_allclose(filled, (0, 0, 255) * np.ones((200, 300, 1)), atol=12)


@pytest.mark.parametrize("value", [0, 1])
def test_a_blur_of_nothing_but_background_or_subject(picture, value):
    filled = Blur().fill(picture, np.full(picture.size, value, np.float32), picture.size)

    np.testing.assert_allclose(filled.mean((0, 1)), picture.pixels.mean((0, 1)), atol=3)


def test_backgrounds_as_typed(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "behind.png")
    assert isinstance(parse_background(str(tmp_path / "behind.png")), ImageBackground)
    assert parse_background("white").color == (255, 255, 255)
    assert parse_background("#0a141e").color == (10, 20, 30)
    assert isinstance(parse_background("blur"), Blur)
    with pytest.raises(ImageError, match=r"whit: no such image"):
        parse_background("whit")


def test_a_crop_has_its_margin(picture, alpha):
    result = compose(picture, alpha, Style(crop=0.1))

    assert result.pixels.shape == (26, 36, 4)
    whole = compose(picture, alpha)
    np.testing.assert_array_equal(result.pixels, whole.pixels[17:43, 27:63])
    assert result.subject == whole.subject


def test_nothing_found_is_nothing_cropped(picture):
    result = compose(picture, np.full((60, 90), 0.2, np.float32), Style(crop=0))

    assert not result.subject.found
    assert result.pixels.shape == (60, 90, 4)


def test_premultiplied(picture, alpha):
    straight = compose(picture, alpha)
    result = compose(picture, alpha, Style(premultiply=True))

    assert result.premultiplied
    np.testing.assert_array_equal(result.pixels[..., 3], straight.pixels[..., 3])
    expected = straight.pixels[..., :3] * alpha[..., None]
    np.testing.assert_allclose(result.pixels[..., :3], expected, atol=0.51)


def test_a_shadow_falls_below_and_leaves_the_subject(picture, alpha):
    result = compose(picture, alpha, Style(shadow="drop"))

    np.testing.assert_array_equal(result.pixels[20:40, 30:50, :3], picture.pixels[20:40, 30:50])
    assert (result.pixels[20:40, 30:50, 3] == 255).all()
    below, above = result.pixels[40, 40], result.pixels[19, 40]
    assert below[3] > above[3]
    assert below[:3].max() < 10, "black"
    on_white = compose(picture, alpha, Style(shadow="drop", background=Color((255,) * 3)))
    np.testing.assert_allclose(on_white.pixels[40, 40], 255 - below[3], atol=3)


def test_a_transparent_shadow_over_white_is_the_shadow_on_white(picture, alpha):
    cut = compose(picture, alpha, Style(shadow="drop")).pixels.astype(float)
    on_white = compose(picture, alpha, Style(shadow="drop", background=Color((255,) * 3)))

    share = cut[..., 3:] / 255
    np.testing.assert_allclose(share * cut[..., :3] + (1 - share) * 255, on_white.pixels, atol=3)


@pytest.mark.parametrize(
    "style",
    [
        Style(),
        Style(premultiply=True),
        Style(shadow="drop"),
        Style(background=Color((10, 200, 30)), shadow="drop"),
    ],
)
def test_a_picture_worked_on_in_strips_equals_the_whole(picture, alpha, monkeypatch, style):
    whole = compose(picture, alpha, style).pixels

    monkeypatch.setattr(module, "STRIP_PIXELS", 500)  # 5 rows of 90; the last strip has none over
    np.testing.assert_array_equal(compose(picture, alpha, style).pixels, whole)
    monkeypatch.setattr(module, "STRIP_PIXELS", 700)  # 7 rows, and a last strip of 4
    np.testing.assert_array_equal(compose(picture, alpha, style).pixels, whole)


def test_levels_over_a_background_are_rounded():
    """200 over black at alpha .999 is 199.8, and at .996 it is 199.2."""
    picture = Picture(np.full((1, 2, 3), 200, np.uint8))
    alpha = np.array([[0.999, 0.996]], np.float32)
    style = Style(background=Color((0, 0, 0)), foreground="none")

    assert compose(picture, alpha, style).pixels[0, :, 0].tolist() == [200, 199]


def test_a_shadow_reaches_as_far_as_the_subject_is_long():
    """A subject of 40 x 400: its shadow falls by a fortieth of 400, ten pixels, and is as soft.

    So it is .45 times a normal distribution around ten pixels below the subject's edge."""
    alpha = np.zeros((120, 500), np.float32)
    alpha[40:80, 50:450] = 1
    picture = Picture(np.full((120, 500, 3), 90, np.uint8))

    shade = compose(picture, alpha, Style(shadow="drop")).pixels[..., 3] / 255

    for row in (82, 88, 95, 105, 31):
        edge = (90 - row - 0.5) if row > 60 else (row + 0.5 - 50)
        expected = 0.45 * NormalDist(0, 10).cdf(edge)
        assert shade[row, 250] == pytest.approx(expected, abs=0.02), row


def test_the_profile_stays(picture, alpha):
    tagged = Picture(picture.pixels, None, b"profile")

    assert compose(tagged, alpha).profile == b"profile"
    assert compose(tagged, alpha, Style(mask=True)).profile is None


def test_saving(picture, alpha, tmp_path):
    compose(picture, alpha).save(tmp_path / "cut.webp")

    with Image.open(tmp_path / "cut.webp") as opened:
        assert (opened.format, opened.mode, opened.size) == ("WEBP", "RGBA", (90, 60))


def test_a_result_is_short_in_print_and_a_picture_in_a_notebook(picture, alpha):
    result = compose(picture, alpha)

    assert "90 x 60 RGBA, uint8" in repr(result)
    assert "gray" in repr(compose(picture, alpha, Style(mask=True)))
    assert len(repr(result)) < 150
    shown = Image.open(io.BytesIO(result._repr_png_()))
    np.testing.assert_array_equal(np.asarray(shown), result.pixels)
