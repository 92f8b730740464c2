import cv2
import numpy as np
import pytest
from birefnet_runtime import Clean, OutputError, Picture, Style, compose
from birefnet_runtime.cutout.mask import parse_clean

SIDE = 400
MIDDLE = (200, 200)


def disc(center, radius, softness=2.0):
    """float32 (400, 400): a disc with a soft edge; centers are (row, column)."""
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(canvas, center[::-1], radius, 255, -1)
    return cv2.GaussianBlur(canvas.astype(np.float32) / 255, (0, 0), softness)


@pytest.fixture
def subject():
    """A disc of 100 pixels' radius; half a percent of its area is a disc of 7."""
    return disc(MIDDLE, 100)


@pytest.mark.parametrize("softness", [0.5, 2.0])
def test_specks_go_with_their_soft_edges_and_nothing_else_does(subject, softness):
    dirty = np.maximum.reduce([subject, disc((30, 30), 5, softness), disc((390, 200), 4, softness)])

    cleaned = Clean().apply(dirty)

    np.testing.assert_allclose(cleaned, subject, atol=0.021)
    assert cleaned[15:45, 15:45].max() <= 0.02
    assert dirty[30, 30] > 0.9


@pytest.mark.parametrize("softness", [0.5, 2.0])
def test_holes_are_filled_with_their_soft_edges(subject, softness):
    dirty = subject * (1 - disc((200, 200), 6, softness)) * (1 - disc((240, 150), 5, softness))

    cleaned = Clean().apply(dirty)

    np.testing.assert_allclose(cleaned, subject, atol=0.021)
    assert cleaned[185:215, 185:215].min() > 0.995


def test_what_is_larger_stays(subject):
    dirty = np.maximum(subject, disc((40, 40), 12)) * (1 - disc(MIDDLE, 12))

    assert Clean().apply(dirty) is dirty
    np.testing.assert_allclose(Clean(0.02).apply(dirty), subject, atol=0.021)


def test_only_the_main_subject_is_left(subject):
    both = np.maximum(subject, disc((40, 40), 30))

    assert Clean().apply(both) is both
    np.testing.assert_allclose(Clean(main=True).apply(both), subject, atol=0.021)
    faint = np.maximum(disc((60, 60), 40), 0.3 * disc((280, 280), 70))
    assert Clean(main=True).apply(faint)[60, 60] == 1, "area is counted by alpha"


def test_as_many_alike_stay_all():
    flock = np.zeros((SIDE, SIDE), np.float32)
    for row in range(20, SIDE, 40):
        for column in range(20, SIDE, 40):
            flock[row : row + 8, column : column + 8] = 1

    assert Clean().apply(flock) is flock


def test_what_shines_through_is_no_hole(subject):
    glass = subject * (1 - 0.85 * disc((200, 200), 5)) * (1 - 0.3 * disc((240, 150), 4))

    assert Clean().apply(glass) is glass


def test_the_background_in_a_corner_is_no_hole():
    frame_full = np.ones((SIDE, SIDE), np.float32)
    frame_full[:6, :6] = 0
    frame_full[200:204, -4:] = 0

    assert Clean().apply(frame_full) is frame_full


def test_hairs_that_are_broken_and_what_is_between_them_stay(subject):
    """Hairs stand in rows, dashed: strokes of three pixels with gaps of two; crossed by others."""
    strokes = np.zeros((SIDE, SIDE), np.float32)
    strokes[60:300, 120:280:4] = 1
    strokes[20:104:5] = strokes[21:104:5] = 0
    strokes[60:110:6, 120:280] = 1
    hairy = np.maximum(subject, strokes)

    assert Clean().apply(hairy) is hairy


@pytest.mark.parametrize("value", [0.0, 0.01, 0.4, 1.0])
def test_pictures_of_nothing_stay(value):
    alpha = np.full((30, 1), value, np.float32)

    assert Clean(main=True).apply(alpha) is alpha


@pytest.mark.parametrize("style", [Style(), Style(mask=True), Style(premultiply=True)])
def test_every_result_is_of_the_clean_alpha(subject, style):
    dirty = np.maximum(subject, disc((30, 30), 5)) * (1 - disc(MIDDLE, 5))
    picture = Picture(np.full((SIDE, SIDE, 3), 90, np.uint8))
    clean = Style(style.mask, premultiply=style.premultiply, clean=Clean())

    before, after = (compose(picture, dirty, each) for each in (style, clean))

    alphas = [each.pixels if style.mask else each.pixels[..., 3] for each in (before, after)]
    assert alphas[0][30, 30] > 240
    assert alphas[0][200, 200] < 15
    assert [alphas[1][place] for place in ((30, 30), (200, 200))] == [0, 255]
    assert before.subject.box[0] < 30 < 95 < after.subject.box[0] < 105
    if not style.mask:
        assert after.pixels[200, 200].tolist() == [90, 90, 90, 255], "the picture's color in a hole"


def test_ways_as_typed():
    assert parse_clean("specks") == Clean()
    assert parse_clean("main") == Clean(main=True)
    assert parse_clean("2%") == Clean(0.02)


@pytest.mark.parametrize("text", ["", "all", "2", "-1%", "101%", "nan%", "%"])
def test_other_ways_are_refused(text):
    with pytest.raises(OutputError, match="specks, main, or a"):
        parse_clean(text)


def test_a_veil_all_over_joins_no_pieces():
    """Networks leave a hundredth nearly everywhere."""
    alpha = np.full((100, 120), 0.01, np.float32)
    alpha[20:80, 20:60] = 1
    alpha[40:43, 80:83] = 1

    cleaned = Clean().apply(alpha)

    assert cleaned[40:43, 80:83].max() == 0
    np.testing.assert_array_equal(cleaned[:, :70], alpha[:, :70])


@pytest.mark.parametrize(("gap", "joined"), [(12, True), (30, False)])
def test_pieces_hang_together_by_the_longer_side(gap, joined):
    """Of a panorama of 100 x 2000: pieces with less than 20 pixels between them are one."""
    alpha = np.zeros((100, 2000), np.float32)
    alpha[20:80, 400:600] = 1
    alpha[20:80, 600 + gap : 700 + gap] = 1

    cleaned = Clean(main=True).apply(alpha)

    assert cleaned[50, 650 + gap] == joined
