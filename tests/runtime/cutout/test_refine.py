import pickle

import numpy as np
import pytest
from birefnet_runtime import Picture, Segmenter
from birefnet_runtime.cutout.refine import MOST_WINDOW_SHARE, Refined, alpha_of, window_around
from birefnet_runtime.images import picture


def disc(size, center, radius):
    """uint8 (H, W, 3) RGB: a white disc on black, its edge a pixel wide; and its alpha."""
    rows, columns = np.indices(size)
    distance = np.hypot(rows - center[0], columns - center[1])
    alpha = np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32)
    return np.repeat(np.rint(alpha * 255).astype(np.uint8)[..., None], 3, axis=2), alpha


@pytest.fixture(scope="module")
def small():
    """A disc of 60 pixels in a picture that is ten times as wide."""
    return disc((480, 600), (100, 450), 30)


def mean_error(alpha, truth):
    """The model calls half-bright pixels .5, so that its alpha is the disc's, but for contrast."""
    return np.abs((alpha > 0.5).astype(np.float32) - (truth > 0.5)).mean()


def with_box(size, box):
    alpha = np.zeros(size, np.float32)
    alpha[box[0] : box[2], box[1] : box[3]] = 1
    return alpha


@pytest.mark.parametrize(
    ("box", "window"),
    [
        ((40, 40, 60, 60), (30, 30, 70, 70)),  # half of its longer side all around
        ((0, 0, 20, 20), (0, 0, 40, 40)),  # moved into the picture: as large as elsewhere
        ((80, 80, 100, 100), (60, 60, 100, 100)),
        ((40, 10, 42, 50), (20, 0, 62, 80)),
        ((10, 10, 70, 70), None),  # too large
        ((10, 10, 10, 10), None),  # no subject
    ],
)
def test_the_window_lies_around_the_subject(box, window):
    found = window_around(with_box((100, 100), box), (100, 100))

    if window is None:
        assert found is None
    else:
        np.testing.assert_allclose(found, window, atol=5)
        assert found[0] <= box[0] < box[2] <= found[2]
        assert found[1] <= box[1] < box[3] <= found[3]


def test_a_window_is_in_the_pictures_pixels_whatever_the_masks_size():
    window = window_around(with_box((100, 100), (40, 40, 50, 60)), (1000, 3000))

    assert window == (100, 900, 800, 2100)
    height, width = window[2] - window[0], window[3] - window[1]
    assert height * width <= MOST_WINDOW_SHARE * 1000 * 3000


def test_a_small_subjects_edge_gets_finer_and_what_is_far_from_it_stays(model, small):
    image, truth = small
    once, twice = Segmenter(model), Segmenter(model, refine=True)

    first, second = once(image), twice(image)

    assert mean_error(second, truth) < mean_error(first, truth) / 2
    prepared = twice.prepare(image)
    (prediction,) = twice.run([prepared])
    top, left, bottom, right = prediction.window
    outside = np.ones(truth.shape, bool)
    outside[top:bottom, left:right] = False
    np.testing.assert_array_equal(second[outside], first[outside])
    # Nor is there a seam: just inside of the border little has changed.
    np.testing.assert_allclose(second[bottom - 1], first[bottom - 1], atol=0.01)
    assert (twice.finish(prepared, prediction) == second).all()


def test_a_subject_that_fills_the_picture_is_looked_at_once(model):
    image, _ = disc((96, 96), (48, 48), 40)
    twice = Segmenter(model, refine=True)

    (prediction,) = twice.run([twice.prepare(image)])

    assert not isinstance(prediction, Refined)
    np.testing.assert_array_equal(twice(image), Segmenter(model)(image))


def test_the_second_mask_fades_in_but_at_the_pictures_own_border():
    class Form:
        def alpha(self, answer, size):
            return np.full(size, answer, np.float32)

    alpha = alpha_of(Refined(0.0, 1.0, (0, 20, 60, 120)), Form(), (100, 200))

    assert alpha[:54, 26:114].min() == 1, "and so to the picture's upper border"
    np.testing.assert_allclose(alpha[30, 20:26], [0.1, 0.3, 0.5, 0.7, 0.9, 1], atol=1e-6)
    np.testing.assert_allclose(alpha[54:61, 70], [1, 0.9, 0.7, 0.5, 0.3, 0.1, 0], atol=1e-6)
    assert not alpha[60:].any()
    assert not alpha[:, :20].any()


def test_pictures_of_a_batch_get_what_they_get_alone(model, small):
    large, _ = disc((96, 96), (48, 48), 40)
    other, _ = disc((300, 300), (200, 80), 20)
    nothing = np.zeros((50, 50, 3), np.uint8)
    images = [small[0], large, other, nothing]
    twice = Segmenter(model, refine=True)

    together = twice.batch(images)

    kinds = [isinstance(each, Refined) for each in twice.run([*map(twice.prepare, images)])]
    assert kinds == [True, False, True, False]
    for alone, alpha in zip(map(twice, images), together, strict=True):
        np.testing.assert_allclose(alpha, alone, atol=1e-6)
    for streamed, alpha in zip(twice.stream(images, batch=2), together, strict=True):
        np.testing.assert_allclose(alpha, streamed, atol=1e-6)


def test_another_process_looks_twice_too(model, small):
    twice = Segmenter(model, refine=True)

    np.testing.assert_array_equal(pickle.loads(pickle.dumps(twice))(small[0]), twice(small[0]))


def test_a_refined_answer_that_finds_something_else_is_dropped(model, small, monkeypatch):
    twice = Segmenter(model, refine=True)
    expected = Segmenter(model)(small[0])
    run, sizes = twice._run, []

    def contrary(batch):
        sizes.append(batch.shape)
        return run(batch) if len(sizes) == 1 else -run(batch)

    monkeypatch.setattr(twice, "_run", contrary)

    np.testing.assert_array_equal(twice(small[0]), expected)
    assert len(sizes) == 2


def test_the_window_has_the_pictures_transparency_and_16_bits(model, small):
    """Over white, which is the subject, as in the first look: here all of it is transparent."""
    image = small[0].astype(np.uint16) * 257
    opacity = np.full(image.shape[:2], 65535, np.uint16)
    opacity[70:131, 420:481] = 0
    twice = Segmenter(model, refine=True)
    prepared = twice.prepare(np.dstack([image * 0, opacity]))
    assert isinstance(prepared.picture, Picture)

    (prediction,) = twice.run([prepared])

    alpha = twice.finish(prepared, prediction)
    assert isinstance(prediction, Refined)
    assert alpha[75:125, 425:475].min() > 0.9
    assert alpha[:60].max() < 0.1


@pytest.mark.parametrize("box", [(5, 60, 30, 95), (70, 0, 95, 20)])
def test_windows_at_opposite_borders_are_alike(box):
    alpha = with_box((100, 100), box)

    top, left, bottom, right = window_around(alpha, (100, 100))
    flipped = window_around(alpha[::-1, ::-1].copy(), (100, 100))

    np.testing.assert_allclose(flipped, (100 - bottom, 100 - right, 100 - top, 100 - left), atol=1)
    assert 0 <= top < bottom <= 100
    assert 0 <= left < right <= 100


def test_each_window_is_run_at_its_own_size(model):
    """A tall subject in a wide picture, with a size that follows the shape."""
    image = np.zeros((300, 900, 3), np.uint8)
    image[100:220, 400:440] = 255
    twice = Segmenter(model, refine=True, size="auto")
    sizes, size_of = [], twice.model_size
    twice.model_size = lambda size: sizes.append(size) or size_of(size)

    (prediction,) = twice.run([twice.prepare(image)])

    top, left, bottom, right = prediction.window
    assert sizes[-1] == (bottom - top, right - left)


def test_no_row_between_strips_keeps_the_first_mask(monkeypatch):
    class Form:
        def alpha(self, answer, size):
            return np.full(size, answer, np.float32)

    refined = Refined(0.0, 1.0, (50, 50, 250, 250))
    whole = alpha_of(refined, Form(), (300, 300))
    monkeypatch.setattr(picture, "STRIP_PIXELS", 1000)

    np.testing.assert_array_equal(alpha_of(refined, Form(), (300, 300)), whole)
    assert whole[70:230, 70:230].min() == 1
