import numpy as np
from birefnet_benchmarks.evaluation.contact_sheet import (
    COLUMNS,
    MISSING,
    THUMBNAIL_SIDE,
    TOO_MUCH,
    SheetRow,
    _shorten,
    draw_sheet,
    thumbnails,
)
from PIL import Image, ImageFont

PHOTO = np.full((40, 60, 3), (10, 200, 30), np.uint8)
TRUTH = np.zeros((40, 60), np.uint8)
TRUTH[:, 20:40] = 255
FOUND = np.zeros((40, 60), np.uint8)
FOUND[:, 30:50] = 255


def case(title="a", scale=1):
    grown = [np.repeat(np.repeat(each, scale, 0), scale, 1) for each in (PHOTO, TRUTH, FOUND)]
    return SheetRow(title, "S 0.500", thumbnails(*grown))


def test_a_row_has_a_picture_for_each_column():
    image, truth, found, difference = case().pictures

    assert len(COLUMNS) == 4
    np.testing.assert_array_equal(image, PHOTO)
    np.testing.assert_array_equal(truth[..., 1], TRUTH)
    np.testing.assert_array_equal(found[..., 1], FOUND)
    assert tuple(difference[0, 45]) == TOO_MUCH
    assert tuple(difference[0, 25]) == MISSING
    assert tuple(difference[0, 35]) == (102,) * 3  # right: the truth, dim
    assert tuple(difference[0, 5]) == (0,) * 3


def test_large_pictures_are_shrunk_and_their_shape_is_kept():
    for picture in case(scale=20).pictures:
        assert picture.shape == (THUMBNAIL_SIDE * 40 // 60, THUMBNAIL_SIDE, 3)


def test_an_outline_that_is_off_by_a_pixel_is_still_seen_when_shrunk():
    truth = np.zeros((900, 900), np.uint8)
    truth[:, 450:] = 255
    found = np.roll(truth, -1, axis=1)

    difference = thumbnails(np.zeros((900, 900, 3), np.uint8), truth, found)[3]

    assert (difference[150].astype(int) @ (1, -1, -1)).max() > 0  # some orange, not gray


def test_the_sheet_has_the_cases_below_each_other():
    sheet = np.asarray(draw_sheet([case("first"), case("second")], "the worst"))
    green = (sheet == (10, 200, 30)).all(axis=2)

    assert green.sum() == 2 * 40 * 60
    assert len(np.flatnonzero(np.diff(green.any(axis=1).astype(int)) == 1)) == 2


def test_long_names_of_any_script_are_drawn_on_one_line(tmp_path):
    title = "Straße/пример/写真/" + "a-very-long-name-" * 20

    draw_sheet([case(title)], "heading").save(tmp_path / "worst.png")

    with Image.open(tmp_path / "worst.png") as written:
        assert written.size == draw_sheet([case("short")], "").size


def test_of_a_long_name_the_end_stays_as_far_as_it_fits():
    font = ImageFont.load_default(13)
    name = "folder/of/many/" + "photographs-" * 20 + "0042"

    short = _shorten(name, 200, font)

    assert short.startswith("…")
    assert name.endswith(short[1:])
    assert 180 < font.getlength(short) <= 200
    assert _shorten("0042", 200, font) == "0042"
