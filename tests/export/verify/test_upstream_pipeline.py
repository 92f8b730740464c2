"""Upstream's pipeline, against what can be known of it without a network."""

import io

import numpy as np
import pytest
from birefnet_export.errors import ParityError
from birefnet_export.verify.upstream_pipeline import ignored_of, reference_alpha
from birefnet_runtime import Segmenter
from PIL import Image, ImageCms


class Brightness:
    """Logits that are linear in the red channel, undone of its normalization: 8 * (red - 1/2)."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def __call__(self, image: np.ndarray) -> np.ndarray:
        self.seen.append(image)
        return 8 * (image[:, :1] * 0.229 + 0.485 - 0.5)


def saved(image: Image.Image, path, **options):
    image.save(path, **options)
    return path


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_a_plain_color_is_normalized_and_comes_back_at_its_own_size(tmp_path):
    net = Brightness()
    file = saved(Image.new("RGB", (50, 30), (204, 102, 51)), tmp_path / "a.png")

    alpha = reference_alpha(net, file, (64, 96))

    (seen,) = net.seen
    assert seen.shape == (1, 3, 64, 96)
    expected = (np.array([0.8, 0.4, 0.2]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(seen[0, :, 5, 7], expected, atol=1e-6)
    assert (alpha.shape, alpha.dtype) == ((30, 50), np.float32)
    np.testing.assert_array_equal(alpha, np.float32(int(255 * sigmoid(8 * 0.3))) / np.float32(255))
    smooth = reference_alpha(net, file, (64, 96), eight_bits=False)
    np.testing.assert_allclose(smooth, sigmoid(8 * 0.3), atol=1e-6)


def test_the_mask_is_cut_to_8_bits_and_resized_as_pillow_does_by_default(tmp_path):
    """The model cards' `ToPILImage()(pred)` and `resize(image.size)`."""
    file = saved(Image.linear_gradient("L").convert("RGB").resize((300, 200)), tmp_path / "a.png")
    seen = Brightness()

    alpha = reference_alpha(seen, file, (64, 96))

    mask = (sigmoid(Brightness()(seen.seen[0]))[0, 0] * 255).astype(np.uint8)
    card = Image.fromarray(mask).resize((300, 200))
    np.testing.assert_array_equal(np.rint(alpha * 255), np.asarray(card))


def test_the_mask_may_stay_float32(tmp_path):
    file = saved(Image.linear_gradient("L").convert("RGB"), tmp_path / "a.png")
    net = Brightness()

    alpha = reference_alpha(net, file, (256, 256), eight_bits=False)

    assert net.seen[0].dtype == alpha.dtype == np.float32
    assert len(np.unique(alpha * 255 % 1)) > 100  # not whole levels


def test_the_exif_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (40, 20))
    image.paste("white", (20, 0, 40, 20))  # the right half, which turned by 90 degrees is the lower
    exif = Image.Exif()
    exif[0x0112] = 6
    file = saved(image, tmp_path / "a.png", exif=exif)

    alpha = reference_alpha(Brightness(), file, (64, 64))

    assert alpha.shape == (40, 20)
    assert alpha[5].max() < 0.1
    assert alpha[-5].min() > 0.9


@pytest.mark.parametrize(("image_size", "size"), [((300, 200), (64, 96)), ((50, 41), (160, 96))])
def test_it_is_the_runtime_s_pipeline_but_for_rounding(tmp_path, image_size, size):
    """Enlarging and shrinking back, by two libraries each: the same filters."""
    pixels = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    file = saved(Image.fromarray(pixels).resize(image_size), tmp_path / "a.png")

    stated = f"{size[0]}x{size[1]}"

    class Session:
        def get_inputs(self):
            shape = ["batch", 3, "height", "width"]
            return [type("Port", (), {"name": "x", "type": "tensor(float)", "shape": shape})]

        def get_outputs(self):
            shape = ["batch", 1, "height", "width"]
            return [type("Port", (), {"name": "y", "type": "tensor(float)", "shape": shape})]

        def get_modelmeta(self):
            return type("Meta", (), {"custom_metadata_map": {"birefnet.trained_size": stated}})

        def run(self, names, feed):
            return [Brightness()(feed["x"])]

    alpha = Segmenter.from_session(Session()).alpha(file)
    smooth = reference_alpha(Brightness(), file, size, eight_bits=False)
    np.testing.assert_allclose(alpha, smooth, atol=1e-5)
    card = reference_alpha(Brightness(), file, size)
    assert 0.5 < np.abs(np.rint(alpha * 255) - card * 255).max() < 2.01


@pytest.mark.parametrize(
    ("image", "options", "ignored"),
    [
        (Image.new("RGB", (4, 4)), {}, None),
        (Image.new("RGBA", (4, 4)), {}, "its transparency"),
        (Image.new("I;16", (4, 4)), {}, "its 16 bits"),
        (
            Image.new("RGBA", (4, 4)),
            {"icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()},
            "its transparency and its color profile",
        ),
    ],
)
def test_what_upstream_ignores_is_told(tmp_path, image, options, ignored):
    assert ignored_of(saved(image, tmp_path / "a.png", **options)) == ignored


@pytest.mark.parametrize("content", [b"", b"no image", "cut"])
def test_what_is_no_image_is_named(tmp_path, content):
    file = tmp_path / "a.png"
    if content == "cut":
        stream = io.BytesIO()
        Image.effect_noise((64, 64), 50).save(stream, "png")
        content = stream.getvalue()[:500]
    file.write_bytes(content)

    for call in (lambda: ignored_of(file), lambda: reference_alpha(Brightness(), file, (32, 32))):
        with pytest.raises(ParityError, match=r"a\.png: .* an image"):
            call()
