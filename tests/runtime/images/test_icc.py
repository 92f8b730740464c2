import numpy as np
import pytest
from birefnet_runtime.images.metadata import from_srgb, gray_curve, lab_to_srgb, space_of, to_srgb
from PIL import Image, ImageCms

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(
    ("profile", "space"),
    [
        (SRGB, "RGB"),
        (SRGB[:16] + b"CMYK" + SRGB[20:], "CMYK"),
        (SRGB[:128], "RGB"),
        (SRGB[:127], None),  # shorter than the header (ICC.1:2022, 7.2)
        (b"x" * 200, None),
        (b"", None),
        (None, None),
    ],
)
def test_the_space_is_in_the_header(profile, space):
    assert space_of(profile) == space


def test_srgb_to_srgb_changes_nothing():
    pixels = np.random.default_rng(1).integers(0, 256, (8, 9, 3), dtype=np.uint8)

    np.testing.assert_allclose(np.asarray(to_srgb(Image.fromarray(pixels), SRGB)), pixels, atol=1)
    np.testing.assert_allclose(from_srgb(pixels, SRGB), pixels, atol=1)
    assert from_srgb(pixels, None) is pixels


def test_a_damaged_profile_converts_nothing():
    image = Image.new("RGB", (2, 2))

    assert to_srgb(image, SRGB[:200]) is None
    assert gray_curve(SRGB[:200]) is None
    assert from_srgb(np.zeros((1, 1, 3), np.uint8), b"junk").tolist() == [[[0, 0, 0]]]


def profile_with_black(level: float) -> bytes:
    """sRGB whose curves start at a share of the light, as a printer's black does.

    A parametric curve of type 4 (ICC.1:2022, 10.18): Y = (aX + b)^g + e.
    """
    profile = bytearray(SRGB)
    count = int.from_bytes(profile[128:132], "big")
    body = b"para\0\0\0\0\0\4\0\0" + b"".join(
        round(value * 65536).to_bytes(4, "big", signed=True)
        for value in (1, 1 - level, 0, 0, 0, level, 0)
    )
    place = len(profile)
    for at in range(132, 132 + 12 * count, 12):
        if bytes(profile[at : at + 4]) in {b"rTRC", b"gTRC", b"bTRC"}:
            profile[at + 4 : at + 12] = place.to_bytes(4, "big") + len(body).to_bytes(4, "big")
    profile += body
    profile[:4] = len(profile).to_bytes(4, "big")
    return bytes(profile)


def test_black_stays_black():
    """Black point compensation: the darkest that a profile has becomes the darkest of sRGB."""
    black = Image.new("RGB", (1, 1), 0)

    converted = to_srgb(black, profile_with_black(0.02))

    assert converted is not None
    assert max(converted.getpixel((0, 0))) <= 1, "2 % of the light would be 38 without it"


def test_linear_light_and_back():
    """Half the light is 188 in sRGB (IEC 61966-2-1), 128 in a profile of linear light."""
    linear = profile_with_black(0)
    half, seen = np.full((1, 1, 3), 128, np.uint8), np.full((1, 1, 3), 188, np.uint8)

    np.testing.assert_allclose(np.asarray(to_srgb(Image.fromarray(half), linear)), seen, atol=1)
    np.testing.assert_allclose(from_srgb(seen, linear), half, atol=1)


def test_lab():
    """L* of 50 without color is Y of .1842 (CIE 15), which sRGB has at 119."""
    converted = lab_to_srgb(Image.new("LAB", (1, 1), (128, 128, 128)))

    np.testing.assert_allclose(converted.getpixel((0, 0)), 119, atol=2)
