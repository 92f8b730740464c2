import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from birefnet_runtime.cutout import foreground
from birefnet_runtime.cutout.foreground import estimate_foreground
from birefnet_runtime.errors import ImageError, MissingExtraError


def disc(height: int = 120, width: int = 140, soft: float = 8) -> np.ndarray:
    """float32 (H, W): 1 inside a disc, 0 outside, a ramp between."""
    rows, columns = np.indices((height, width), dtype=np.float32)
    distance = np.hypot(rows - height / 2, columns - width / 2)
    return np.clip((height / 3 - distance) / soft + 0.5, 0, 1)


def mix(fore, back, alpha, scale=255, depth=np.uint8) -> np.ndarray:
    mixed = alpha[..., None] * np.array(fore) + (1 - alpha[..., None]) * np.array(back)
    return np.rint(mixed / 255 * scale).astype(depth)


def as_the_paper_has_it(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Blur fusion of a whole image in float64, written from the paper's equations."""
    image, alpha = image.astype(np.float64), alpha.astype(np.float64)[..., None]

    def box(array, side):
        return cv2.blur(array, (side, side)).reshape(array.shape)

    fore = back = image
    for side in (foreground.WIDE - 1, foreground.NARROW):
        mean_fore = box(fore * alpha, side) / (box(alpha, side) + 1e-5)
        mean_back = box(back * (1 - alpha), side) / (box(1 - alpha, side) + 1e-5)
        mixed = alpha * mean_fore + (1 - alpha) * mean_back
        fore, back = mean_fore + alpha * (image - mixed), mean_back
    return np.clip(np.rint(fore), 0, 255)


@pytest.mark.parametrize("estimator", ["blur", "none"])
def test_an_alpha_of_another_size_is_refused(estimator):
    with pytest.raises(ImageError, match="120x140, the picture 120x141"):
        estimate_foreground(np.zeros((120, 141, 3), np.uint8), disc(), estimator=estimator)


def test_it_equals_the_papers_equations(monkeypatch):
    """On tiles far smaller than the windows, of a picture with structure."""
    random = np.random.default_rng(5)
    image = cv2.GaussianBlur(random.integers(0, 256, (230, 310, 3), dtype=np.uint8), (9, 9), 0)
    alpha = np.where(disc(230, 310) < 0.01, 0, disc(230, 310)).astype(np.float32)
    expected = as_the_paper_has_it(image, alpha)

    for tile, threads in ((64, 1), (97, 3), (1024, 1)):
        monkeypatch.setattr(foreground, "TILE", tile)
        found = estimate_foreground(image, alpha, threads=threads)
        difference = np.abs(found - expected)
        assert difference.max() <= 1, "float32 against float64: a rounding the other way at most"
        assert difference.mean() < 0.01


@pytest.mark.parametrize(("depth", "scale"), [(np.uint8, 255), (np.uint16, 65535)])
def test_the_halo_goes(depth, scale):
    alpha = disc()
    image = mix((200, 120, 40), (0, 40, 255), alpha, scale, depth)

    found = estimate_foreground(image, alpha).astype(float) * 255 / scale

    band = (alpha > 0.02) & (alpha < 0.98)
    before = np.abs(image[band] * (255 / scale) - (200, 120, 40)).mean()
    after = np.abs(found[band] - (200, 120, 40)).mean()
    assert before > 60
    assert after < before / 8
    assert found.shape == image.shape


def test_opaque_pixels_keep_their_colors_and_far_ones_are_black():
    alpha = disc()
    image = np.random.default_rng(6).integers(0, 256, (120, 140, 3), dtype=np.uint8)

    found = estimate_foreground(image, alpha)

    np.testing.assert_array_equal(found[alpha == 1], image[alpha == 1])
    far = cv2.dilate((alpha > 0).astype(np.uint8), np.ones((9, 9))) == 0
    assert found[far].max() == 0


def test_all_or_nothing_needs_no_estimate():
    image = np.full((40, 50, 3), 9, np.uint8)

    np.testing.assert_array_equal(estimate_foreground(image, np.ones((40, 50), np.float32)), image)
    assert estimate_foreground(image, np.zeros((40, 50), np.float32)).max() == 0


def test_colors_below_transparent_pixels_count_for_nothing():
    alpha = disc()
    image = mix((200, 120, 40), (0, 40, 255), alpha)
    hole = np.zeros(alpha.shape, bool)
    hole[40:60, 90:110] = True
    image[hole] = (255, 0, 255)
    opacity = np.where(hole, 0, 255).astype(np.uint8)

    found = estimate_foreground(image, alpha, opacity=opacity)

    band = (alpha > 0.02) & (alpha < 0.98) & ~hole
    assert np.abs(found[band].astype(float) - (200, 120, 40)).mean() < 8


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1), (2, 3)])
def test_slender_pictures(size):
    alpha = np.full(size, 0.5, np.float32)
    image = np.full((*size, 3), 77, np.uint8)

    np.testing.assert_allclose(estimate_foreground(image, alpha), 77, atol=1)


def test_it_writes_where_it_is_told():
    alpha = disc()
    image = mix((200, 120, 40), (0, 40, 255), alpha)
    rgba = np.full((*alpha.shape, 4), 3, np.uint8)

    found = estimate_foreground(image, alpha, out=rgba[..., :3])

    np.testing.assert_array_equal(rgba[..., :3], estimate_foreground(image, alpha))
    np.testing.assert_array_equal(found, rgba[..., :3])
    assert (rgba[..., 3] == 3).all()


def test_none_leaves_the_picture():
    image = np.random.default_rng(6).integers(0, 256, (120, 140, 3), dtype=np.uint8)

    np.testing.assert_array_equal(estimate_foreground(image, disc(), estimator="none"), image)


def test_pymatting_that_is_missing_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymatting", None)

    with pytest.raises(MissingExtraError, match=r"pip install .*\[matting\]"):
        estimate_foreground(np.zeros((4, 4, 3), np.uint8), disc(4, 4), estimator="pymatting")


def test_pymatting_gets_and_gives_the_right_scale(monkeypatch):
    """A stand-in of the same signature; the benchmark runs the real one."""

    class Stub:
        @staticmethod
        def estimate_foreground_ml(image, alpha):
            assert image.max() == 1.0
            assert alpha.shape == image.shape[:2]
            return image * 0.5

    monkeypatch.setitem(sys.modules, "pymatting", Stub)
    image = np.full((4, 4, 3), 65535, np.uint16)

    found = estimate_foreground(image, np.ones((4, 4), np.float32), estimator="pymatting")

    assert (found == 32768).all()


@pytest.fixture
def three_threads():
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    yield
    cv2.setNumThreads(before)


def test_opencvs_threads_are_put_back(three_threads):
    alpha = disc()
    image = mix((200, 120, 40), (0, 40, 255), alpha)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: estimate_foreground(image, alpha), range(12)))

    assert cv2.getNumThreads() == 3


def test_a_tile_is_computed_with_all_that_reaches_it(monkeypatch):
    """A bright line 47 pixels beyond a tile's edge is in the 91 window of a pixel 2 beyond it, and
    that pixel in the 7 window of the tile's last."""
    image = np.zeros((200, 200, 3), np.uint8)
    image[:, 64 + 47 :] = 255
    alpha = np.full((200, 200), 0.5, np.float32)
    monkeypatch.setattr(foreground, "TILE", 1024)
    whole = estimate_foreground(image, alpha).astype(int)

    monkeypatch.setattr(foreground, "TILE", 64)

    difference = np.abs(estimate_foreground(image, alpha) - whole)
    assert difference.max() <= 1
    assert difference.mean() < 1e-3, "but for roundings the other way"


@pytest.fixture
def pymatting_that_cannot_cache(tmp_path, monkeypatch):
    """A package that does as pymatting where numba finds no folder to write to."""
    package = tmp_path / "pymatting"
    package.mkdir()
    (package / "tree.py").write_text(
        "import sys\n"
        "if not sys.modules['numba.core.config'].CACHE_DIR:\n"
        "    raise RuntimeError(\"cannot cache function '_make_tree': no locator available\")\n"
    )
    (package / "__init__.py").write_text(
        "from . import tree\ndef estimate_foreground_ml(image, alpha):\n    return image * 0.5\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    config = types.ModuleType("numba.core.config")
    config.CACHE_DIR = ""
    monkeypatch.setitem(sys.modules, "numba.core.config", config)
    for name in [name for name in sys.modules if name.partition(".")[0] == "pymatting"]:
        monkeypatch.delitem(sys.modules, name)
    foreground._pymatting.cache_clear()
    yield config
    foreground._pymatting.cache_clear()
    for name in ("pymatting", "pymatting.tree"):
        sys.modules.pop(name, None)


def test_pymatting_works_where_numba_cannot_keep_what_it_compiles(pymatting_that_cannot_cache):
    pixels = np.full((4, 5, 3), 100, np.uint8)

    found = estimate_foreground(pixels, np.ones((4, 5), np.float32), estimator="pymatting")

    assert (found == 50).all()
    assert Path(pymatting_that_cannot_cache.CACHE_DIR).is_dir()
