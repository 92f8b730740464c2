import pickle

import numpy as np
import pytest
from birefnet_runtime import (
    Blur,
    Canvas,
    Clean,
    Color,
    ImageBackground,
    Length,
    OutputError,
    Picture,
    Style,
    compose,
)
from birefnet_runtime.cutout.layout import most_pixels, parse_padding, parse_place, parse_shape

NONE = (Length(0),) * 4
RED = (200, 40, 40)
WHITE = Color((255, 255, 255))


@pytest.fixture
def alpha():
    """float32 (60, 90): a subject of 20 x 30 in a corner."""
    alpha = np.zeros((60, 90), np.float32)
    alpha[30:50, 0:30] = 1
    return alpha


@pytest.fixture
def picture(alpha):
    """A red subject before blue."""
    return Picture(np.where(alpha[..., None] > 0, RED, (0, 0, 255)).astype(np.uint8))


def box_of(alpha):
    rows, columns = np.nonzero(alpha > 127)
    return tuple(int(n) for n in (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1))


@pytest.mark.parametrize(
    ("canvas", "size", "box"),
    [
        # 100 x 200: the subject, 2 : 3, is as wide as padding allows, or as high.
        (Canvas((200, 100), NONE), (200, 100), (67, 0, 134, 100)),
        (Canvas((200, 100), (Length(0.1, relative=True),) * 4), (200, 100), (74, 10, 127, 90)),
        (Canvas((40, 100), (Length(5),) * 4), (40, 100), (5, 28, 35, 73)),
        (Canvas((200, 100), NONE, (1, 0.5)), (200, 100), (133, 0, 200, 100)),
        # An aspect, at the picture's resolution.
        (Canvas(1.0, NONE), (30, 30), (5, 0, 25, 30)),
        (Canvas(1.0, (Length(0.25, relative=True),) * 4), (60, 60), (20, 15, 40, 45)),
        (Canvas(0.5, (Length(5), Length(3), Length(0), Length(1))), (68, 34), (26, 1, 46, 31)),
        (Canvas(3.0, NONE, (0, 1)), (20, 60), (0, 30, 20, 60)),
    ],
)
def test_a_subject_on_its_canvas(picture, alpha, canvas, size, box):
    result = compose(picture, alpha, Style(layout=canvas, mask=True))

    assert result.pixels.shape == size
    assert box_of(result.pixels) == pytest.approx(box, abs=1)
    assert result.subject.box == (30, 0, 50, 30)  # in the picture
    assert result.pixels.size <= most_pixels(canvas, picture.size)


@pytest.mark.parametrize("aspect", [1.0, 4 / 5, 16 / 9, 1.91])
@pytest.mark.parametrize("tall", [1, 2, 99, 100, 101])
def test_aspects_hold_to_the_pixel_and_padding_to_a_pixel(aspect, tall):
    canvas = Canvas(aspect, (Length(0.07, relative=True), Length(3), Length(0.11, True), NONE[0]))

    (height, width), (top, left, bottom, right) = canvas.arrange((5, 7, 5 + tall, 60), (200, 200))

    assert abs(width - height * aspect) < 1
    assert (bottom - top, right - left) == (tall, 53)
    assert top >= 0.07 * height - 1
    assert height - bottom >= 0.11 * height - 1
    assert left >= 0
    assert width - right >= 2


@pytest.mark.parametrize("sixteen", [False, True])
def test_beyond_the_picture_there_is_background(picture, alpha, sixteen):
    if sixteen:
        picture = Picture(picture.pixels.astype(np.uint16) * 257)
    canvas = Canvas((120, 120), (Length(0.2, relative=True),) * 4)
    style = Style(layout=canvas, background=WHITE, shadow="drop")

    pixels = compose(picture, alpha, style).pixels // (257 if sixteen else 1)

    assert pixels.shape == (120, 120, 3)
    assert (pixels[:10] == 255).all(), "above"
    assert (pixels[:, :10] == 255).all(), "left of where the picture began"
    assert pixels[60, 60].tolist() == list(RED)
    assert pixels[85, 60].max() < 250, "a shadow below it"
    assert not (pixels == (0, 0, 255)).all(2).any(), "nothing of the old background"


def test_without_a_background_a_canvas_is_transparent(picture, alpha):
    pixels = compose(picture, alpha, Style(layout=Canvas(1.0))).pixels

    assert pixels.shape == (34, 34, 4)
    assert pixels[17, 17].tolist() == [*RED, 255]
    assert not pixels[:2].any()


def test_images_and_blurs_cover_the_canvas(picture, alpha):
    """A canvas of 40 x 90, a picture of 60 x 90: a sixth is cut off above and below."""
    behind = np.zeros((60, 90, 3), np.uint8)
    behind[:8] = behind[-8:] = 255
    canvas = Canvas((40, 90), (Length(0.4, relative=True),) * 4)

    image = compose(picture, alpha, Style(layout=canvas, background=ImageBackground(behind)))
    blur = compose(picture, alpha, Style(layout=canvas, background=Blur()))

    assert image.pixels[[0, -1], 5].max() == 0
    np.testing.assert_allclose(blur.pixels[:, 60:], (0, 0, 255) * np.ones((40, 30, 1)), atol=12)
    assert blur.pixels.shape == (40, 90, 3)


def test_a_picture_without_a_subject_fills_an_empty_canvas(picture):
    nothing = np.full(picture.size, 0.2, np.float32)

    result = compose(picture, nothing, Style(layout=Canvas((100, 100), NONE), mask=True))

    assert not result.subject.found
    assert result.pixels.shape == (100, 100)
    assert result.pixels[18:82, 50].tolist() == [51] * 64, "the picture's frame, as it was"
    assert not result.pixels[:15].any()


def test_a_crop_is_no_crop_of_the_canvas(picture, alpha):
    result = compose(picture, alpha, Style(layout=Canvas((100, 100)), crop=0))

    assert result.pixels.shape == (100, 100, 4)


def test_shapes_paddings_and_places_are_read():
    five, ten = Length(0.05, relative=True), Length(10)

    assert parse_shape("1000x800") == (800, 1000)
    assert parse_shape("4:5") == 0.8
    assert parse_shape("1.91:1") == 1.91
    assert parse_padding("5% 10px") == (five, ten, five, ten)
    assert parse_padding("0") == NONE
    assert parse_place("50% 100%") == (1, 0.5)


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (parse_shape, "1000", "is not a canvas; give WxH"),
        (parse_shape, "0x10", "is not a canvas"),
        (parse_shape, "10x70000", "is not a canvas"),
        (parse_shape, "1:0", "is not a canvas"),
        (parse_shape, "1:200", "is not a canvas"),
        (parse_shape, "٣x٣", "is not a canvas"),
        (parse_padding, "5", "'5' has no unit; give 5%"),
        (parse_padding, "5% 5", "has no unit"),
        (parse_padding, "5 %", "has no unit"),
        (parse_padding, "much", "is not a number"),
        (parse_place, "left", "is not a number; give center"),
    ],
)
def test_what_is_typed_wrong_is_named(parse, text, said):
    with pytest.raises(OutputError, match=said):
        parse(text)


@pytest.mark.parametrize(
    ("shape", "padding"),
    [(1.0, Length(0.5, relative=True)), ((10, 100), Length(5)), ((8, 8), Length(0.45, True))],
)
def test_padding_that_leaves_no_room_is_refused(shape, padding):
    with pytest.raises(OutputError, match="room for a subject"):
        Canvas(shape, (padding,) * 4)


def test_a_style_travels_to_another_process():
    style = Style(layout=Canvas((10, 20)), clean=Clean(main=True))

    assert pickle.loads(pickle.dumps(style)) == style


def test_padding_of_mixed_units_leaves_the_subject_its_room():
    """10 % above and 40 pixels below, of a square: (100 + 40) / .9 is 155.6."""
    padding = (Length(0.1, relative=True), NONE[0], Length(40), NONE[0])

    size, (top, _, bottom, _) = Canvas(1.0, padding).arrange((0, 0, 100, 100), (100, 100))

    assert size == (156, 156)
    assert (top, bottom) == (16, 116)


def test_an_aspect_that_floats_hardly_hold_adds_no_column():
    ratio = parse_shape("11:10")

    assert Canvas(ratio, NONE).arrange((0, 0, 100, 20), (200, 200))[0] == (100, 110)
