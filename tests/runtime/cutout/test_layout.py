import numpy as np
import pytest
from birefnet_runtime import Color, Layout, Length, Picture, Style, compose
from birefnet_runtime.cutout.layout import (
    most_pixels,
    parse_length,
    parse_margins,
    parse_position,
    place,
)

TALL, WIDE = 48, 80
BOX = (12, 30, 36, 50)
NO_MARGIN = (Length(0),) * 4


@pytest.fixture
def subject():
    """Colors and alpha of a red rectangle."""
    colors = np.zeros((TALL, WIDE, 3), np.uint8)
    alpha = np.zeros((TALL, WIDE), np.float32)
    top, left, bottom, right = BOX
    colors[top:bottom, left:right, 0] = 200
    alpha[top:bottom, left:right] = 1
    return colors, alpha


def box_of(alpha):
    rows, columns = np.nonzero(alpha > 0.5)
    return (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)


def laid_out(layout, colors, alpha, box=BOX):
    """Colors and alpha of the canvas."""
    placement = place(layout, box, alpha.shape)
    placed = placement.alpha(alpha)
    return placement.colors(colors, alpha, placed)[..., :3], placed


def test_without_wishes_nothing_is_moved(subject):
    colors, alpha = laid_out(Layout(), *subject)

    assert np.array_equal(colors, subject[0])
    assert np.array_equal(alpha, subject[1])


def test_a_canvas_is_cut_down_to_the_subject(subject):
    colors, alpha = laid_out(Layout(margins=NO_MARGIN), *subject)

    assert alpha.shape == (24, 20)
    assert alpha.min() == 1
    assert (colors[..., 0] == 200).all()


def test_margins_may_go_beyond_the_image(subject):
    margins = (Length(20), Length(0.5, relative=True), Length(1), Length(40))

    _, alpha = laid_out(Layout(margins=margins), *subject)

    assert alpha.shape == (20 + 24 + 1, 40 + 20 + 10)
    assert box_of(alpha) == (20, 40, 44, 60)


@pytest.mark.parametrize(
    ("layout", "box"),
    [
        (Layout(position=(0, 0)), (0, 0, 24, 20)),
        (Layout(position=(1, 1)), (24, 60, 48, 80)),
        (Layout(position=(0.5, 0.5)), (12, 30, 36, 50)),
        (Layout(scale=1, position=(0.5, 0.5)), (0, 20, 48, 60)),
        (Layout(scale=0.25, position=(0, 1)), (0, 70, 12, 80)),
        (Layout(scale=0.25), (18, 35, 30, 45)),  # its center stays
        (Layout(margins=NO_MARGIN, scale=0.5, position=(0.5, 0.5)), (6, 5, 18, 15)),
    ],
)
def test_a_subject_is_scaled_and_moved(subject, layout, box):
    colors, alpha = laid_out(layout, *subject)

    assert box_of(alpha) == box
    top, left, bottom, right = box
    assert (colors[top + 1 : bottom - 1, left + 1 : right - 1, 0] == 200).all()


@pytest.mark.parametrize("margin", [Length(0.5, relative=True), Length(33)])
def test_a_canvas_has_no_more_pixels_than_is_reckoned_with(subject, margin):
    layout = Layout(margins=(margin,) * 4)

    _, alpha = laid_out(layout, *subject, (0, 0, TALL, WIDE))

    assert alpha.size == most_pixels(layout, (TALL, WIDE))


def test_colors_of_nothing_do_not_bleed_in():
    colors = np.full((8, 8, 3), 255, np.uint8)
    alpha = np.zeros((8, 8), np.float32)
    colors[::2], alpha[::2] = 100, 1

    scaled, _ = laid_out(Layout(scale=0.5, position=(0, 0)), colors, alpha, (0, 0, 8, 8))

    assert (scaled[:4, :4] == 100).all()


def test_a_laid_out_subject_is_composed_before_its_canvas(subject):
    colors, alpha = subject
    style = Style(background=Color((0, 0, 255)), layout=Layout(margins=(Length(2),) * 4))

    result = compose(Picture(colors), alpha, style)

    assert result.pixels.shape == (28, 24, 3)
    assert result.pixels[0, 0].tolist() == [0, 0, 255]
    assert result.pixels[12, 12].tolist() == [200, 0, 0]
    assert result.subject.box == BOX  # in the picture itself


def test_a_picture_without_a_subject_stays_as_it_is():
    empty = np.zeros((TALL, WIDE), np.float32)
    style = Style(layout=Layout(margins=NO_MARGIN))

    result = compose(Picture(np.zeros((TALL, WIDE, 3), np.uint8)), empty, style)

    assert result.pixels.shape == (TALL, WIDE, 4)


def test_a_color_that_shines_through_gives_alpha(subject):
    colors, alpha = subject
    alpha = alpha / 2
    alpha[13:35, 31:49] = 1

    result = compose(Picture(colors), alpha, Style(background=Color((0, 0, 100), 0.5)))

    assert result.pixels[0, 0].tolist() == [0, 0, 100, 128]
    assert result.pixels[24, 40].tolist() == [200, 0, 0, 255]
    # Alpha 1/2 over opacity 1/2: 3/4, of which two thirds are the subject's.
    edge = result.pixels[12, 40].astype(int)
    assert abs(edge[3] - 191) <= 1
    assert abs(edge[2] - 33) <= 2


@pytest.mark.parametrize(
    ("text", "length"),
    [("10%", Length(0.1, relative=True)), ("30px", Length(30)), ("2.5", Length(2.5))],
)
def test_lengths_are_read(text, length):
    assert parse_length(text) == length


def test_margins_and_positions_are_read():
    one, two = Length(1), Length(0.02, relative=True)

    assert parse_margins("1") == (one,) * 4
    assert parse_margins("1 2%") == (one, two, one, two)
    assert parse_margins("1 2% 3 4%") == (one, two, Length(3), Length(0.04, relative=True))
    assert parse_position("10% 80%") == (0.8, 0.1)
    assert parse_position("center") == parse_position("50%") == (0.5, 0.5)


@pytest.mark.parametrize(
    ("parse", "text", "reason"),
    [
        (parse_length, "101%", "is more than 100%"),
        (parse_length, "-3", "is not a number"),
        (parse_length, "nan%", "is not a number"),
        (parse_margins, "1 2 3", "is not one, two or four lengths"),
        (parse_margins, "", "is not one, two or four lengths"),
        (parse_position, "10px 3%", "is neither center nor"),
    ],
)
def test_what_is_no_length_is_refused_with_the_reason(parse, text, reason):
    with pytest.raises(ValueError, match=reason):
        parse(text)
