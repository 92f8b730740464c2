import io
import struct
import zlib

import numpy as np
import pytest
from birefnet_runtime.images.color import (
    from_srgb,
    gray_curve,
    lab_to_srgb,
    matrix_profile,
    rgb_profile,
    space_of,
    to_srgb,
)
from birefnet_runtime.images.isobmff import avif_code_points
from birefnet_runtime.images.read import read_image
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


# What files say beside ICC profiles. Truth: the published formulas, and littleCMS.


def linear_of(srgb):
    """sRGB in [0, 1] to light (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def srgb_of(linear):
    linear = linear.clip(0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


# Display P3 to sRGB, and Adobe RGB (1998) to sRGB, both with a white of D65 (W3C css-color-4).
P3_TO_SRGB = np.array(
    [[1.2249401763, -0.2249401763, 0], [-0.0420569547, 1.0420569547, 0],
     [-0.0196375546, -0.0786360456, 1.0982736001]]
)  # fmt: skip
ADOBE_TO_SRGB = np.array(
    [[1.3983557440, -0.3983557440, 0], [0, 1, 0], [0, -0.0429289893, 1.0429289893]]
)
BT2020_TO_SRGB = np.array(
    [[1.6604910021, -0.5876411388, -0.0728498633], [-0.1245504745, 1.1328998971, -0.0083494226],
     [-0.0181507634, -0.1005788980, 1.1187296614]]
)  # fmt: skip
# Colors that every space holds: gray with some color.
SAMPLES = np.random.default_rng(3).integers(90, 170, (6, 7, 3)).astype(np.uint8)


def as_srgb(picture):
    """The picture's pixels through littleCMS, in [0, 1]."""
    eight = np.asarray(picture.pixels if picture.pixels.dtype == np.uint8 else picture.pixels >> 8)
    image = Image.fromarray(eight.astype(np.uint8))
    if picture.profile is not None:
        image = ImageCms.profileToProfile(
            image, io.BytesIO(picture.profile), ImageCms.createProfile("sRGB")
        )
    return np.asarray(image) / 255


def chrm(*chromaticities):
    return struct.pack(">8I", *(round(each * 100_000) for each in chromaticities))


ADOBE = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
GAMA = struct.pack(">I", 45455)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("chunks", "linear", "matrix"),
    [
        ([(b"cICP", b"\x0c\x0d\0\1")], linear_of, P3_TO_SRGB),
        ([(b"cICP", b"\x09\x0d\0\1")], linear_of, BT2020_TO_SRGB),
        ([(b"cICP", b"\x01\x08\0\1")], lambda values: values, np.eye(3)),
        ([(b"cICP", b"\x01\x04\0\1")], lambda values: values**2.2, np.eye(3)),
        ([(b"gAMA", struct.pack(">I", 100_000))], lambda values: values, np.eye(3)),
        ([(b"gAMA", struct.pack(">I", 55_556))], lambda values: values**1.8, np.eye(3)),
        ([(b"gAMA", GAMA), (b"cHRM", chrm(*ADOBE))], lambda values: values**2.2, ADOBE_TO_SRGB),
        ([(b"cHRM", chrm(*ADOBE))], linear_of, ADOBE_TO_SRGB),
    ],
    ids=["P3", "BT.2020", "linear", "gamma 2.2", "gAMA 1", "gAMA .55", "Adobe RGB", "cHRM alone"],
)
def test_colors_of_a_png_keep_their_numbers_and_get_a_profile(
    make_png, make_chunk, depth, chunks, linear, matrix
):
    samples = SAMPLES if depth == np.uint8 else SAMPLES.astype(np.uint16) * 257
    extra = [make_chunk(*chunk) for chunk in chunks]

    picture = read_image(make_png(samples, 2, *extra))

    np.testing.assert_array_equal(picture.pixels, samples)
    expected = srgb_of(linear(SAMPLES / 255) @ matrix.T)
    np.testing.assert_allclose(as_srgb(picture), expected, atol=1.5 / 255)


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"gAMA", GAMA)],
        [(b"gAMA", GAMA), (b"cHRM", chrm(0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06))],
        [(b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 100_000))],
        [(b"cICP", b"\x01\x0d\0\1"), (b"gAMA", struct.pack(">I", 100_000))],
        [(b"cICP", b"\x01\x01\0\1")],  # BT.709's own curve, which players take for sRGB's
        [(b"cICP", b"\x02\x02\0\1")],  # unspecified
        [(b"cICP", b"\xff\xff\0\1")],
        [(b"cICP", b"\x09")],
        [(b"gAMA", bytes(4))],
        [(b"cHRM", bytes(32))],
        [(b"cHRM", chrm(0.3, 0.3, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5))],
    ],
)
def test_what_is_srgb_or_says_nothing_stays_without_a_profile(make_png, make_chunk, chunks):
    content = make_png(SAMPLES, 2, *(make_chunk(*chunk) for chunk in chunks))

    picture = read_image(content)

    assert picture.profile is None
    np.testing.assert_array_equal(picture.pixels, SAMPLES)


def test_code_points_come_before_a_profile_and_a_profile_before_gamma(make_png, make_chunk):
    profile = make_chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(SRGB))
    linear = make_chunk(b"gAMA", struct.pack(">I", 100_000))
    p3 = make_chunk(b"cICP", b"\x0c\x0d\0\1")

    assert read_image(make_png(SAMPLES, 2, linear, profile)).profile == SRGB
    assert (
        read_image(make_png(SAMPLES, 2, profile, make_chunk(b"cICP", b"\1\x0d\0\1"))).profile
        is None
    )
    both = read_image(make_png(SAMPLES, 2, profile, p3))
    assert both.profile == read_image(make_png(SAMPLES, 2, p3)).profile != SRGB


def test_the_narrow_range_is_widened(make_png, make_chunk):
    """Black is 16 and white 235."""
    levels = np.array([[[0, 16, 128], [235, 255, 20]]], np.uint8)
    narrow = make_chunk(b"cICP", b"\1\x0d\0\0")

    eight = read_image(make_png(levels, 2, narrow)).pixels
    sixteen = read_image(make_png(levels.astype(np.uint16) * 256, 2, narrow)).pixels

    assert eight.tolist() == [[[0, 0, 130], [255, 255, 5]]]
    np.testing.assert_allclose(sixteen / 257, eight, atol=0.6)


def test_gray_and_palettes_have_colors_too(make_png, make_chunk):
    gamma = make_chunk(b"gAMA", struct.pack(">I", 100_000))
    gray = SAMPLES[..., 0]

    eight, sixteen = (
        read_image(make_png(samples, 0, gamma)) for samples in (gray, gray.astype(np.uint16) * 257)
    )
    palette = make_chunk(b"PLTE", bytes(3) + b"\x80\x80\x80")
    indexed = read_image(make_png(np.ones((2, 2), np.uint8), 3, gamma, palette))

    for picture in (eight, sixteen):
        np.testing.assert_allclose(as_srgb(picture)[..., 1], srgb_of(gray / 255), atol=1.5 / 255)
    np.testing.assert_allclose(as_srgb(indexed), srgb_of(np.array(128 / 255)), atol=1.5 / 255)


def pq_of(light_cd_m2):
    """Luminance to PQ's values (SMPTE ST 2084)."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = (light_cd_m2 / 10_000) ** m1
    return ((c1 + c2 * power) / (1 + c3 * power)) ** m2


def hlg_of(display_cd_m2):
    """Luminance of a gray on a display of 1000 cd/m² to HLG's values (ITU-R BT.2100)."""
    scene = (display_cd_m2 / 1000) ** (1 / 1.2)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(
        scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c
    )


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize(("transfer", "encode"), [(16, pq_of), (18, hlg_of)], ids=["PQ", "HLG"])
def test_hdr_becomes_srgb_with_white_at_203(make_png, make_chunk, depth, transfer, encode):
    """What is no brighter than .8 of reference white stays as it is, and white nearly so."""
    light = np.array([0.001, 0.02, 0.1, 0.18, 0.4, 0.8, 1, 2, 4.9])
    full = np.iinfo(depth).max
    values = np.rint(encode(light * 203) * full).astype(depth)
    samples = np.repeat(values[None, :, None], 3, axis=2)

    picture = read_image(make_png(samples, 2, make_chunk(b"cICP", bytes([9, transfer, 0, 1]))))

    found = picture.pixels[0, :, 1] / full
    assert picture.profile is None
    assert picture.pixels.dtype == depth
    # Of 8 bits a step of PQ is up to 4 % of the light.
    np.testing.assert_allclose(found[:6], srgb_of(light[:6]), atol=0.025 if full == 255 else 0.002)
    assert 0.93 < found[6] < found[7] < found[8] <= 1


def test_hdrs_colors_are_bt_2020s(make_png, make_chunk):
    """Colors within sRGB come back: sRGB to BT.2020 to PQ, and the way back."""
    linear = linear_of(SAMPLES / 255)
    wide = linear @ np.linalg.inv(BT2020_TO_SRGB).T
    samples = np.rint(pq_of(wide * 203) * 65535).astype(np.uint16)

    picture = read_image(make_png(samples, 2, make_chunk(b"cICP", b"\x09\x10\0\1")))

    np.testing.assert_allclose(picture.pixels / 65535, SAMPLES / 255, atol=0.002)


def test_code_points_of_hdr_in_a_profile_count(make_png, make_chunk):
    """As browsers write HDR: an ICC profile with a `cicp` tag."""
    tag = b"cicp" + bytes(4) + bytes([9, 16, 0, 1])
    profile = bytearray(SRGB + tag)
    profile[:4] = len(profile).to_bytes(4, "big")
    profile[132:144] = b"cicp" + struct.pack(">II", len(SRGB), 12)
    samples = np.full((2, 2, 3), round(float(pq_of(np.array(203 * 0.18))) * 65535), np.uint16)
    chunk = make_chunk(b"iCCP", b"HDR\0\0" + zlib.compress(bytes(profile)))

    picture = read_image(make_png(samples, 2, chunk))

    assert picture.profile is None
    np.testing.assert_allclose(picture.pixels / 65535, srgb_of(np.array(0.18)), atol=0.002)


def with_nclx(content, primaries, transfer):
    """An AVIF or HEIF file whose `nclx` box says something else."""
    place = content.index(b"colrnclx") + 8
    return content[:place] + struct.pack(">HH", primaries, transfer) + content[place + 4 :]


@pytest.mark.parametrize("form", ["AVIF", "HEIF"])
def test_code_points_of_avif_and_heif(form):
    if form == "HEIF":
        pytest.importorskip(
            "pillow_heif", reason="HEIC needs the extra heic"
        ).register_heif_opener()
    stream = io.BytesIO()
    Image.fromarray(SAMPLES).resize((64, 64), Image.Resampling.NEAREST).save(
        stream,
        form,
        quality=100,
        subsampling="4:4:4",
        **({"chroma": 444} if form == "HEIF" else {}),
    )
    plain = read_image(with_nclx(stream.getvalue(), 1, 13))
    p3 = read_image(with_nclx(stream.getvalue(), 12, 13))
    pq = read_image(with_nclx(stream.getvalue(), 9, 16))

    assert plain.profile is None
    np.testing.assert_array_equal(p3.pixels, plain.pixels)
    expected = srgb_of(linear_of(plain.pixels / 255) @ P3_TO_SRGB.T)
    np.testing.assert_allclose(as_srgb(p3), expected, atol=1.5 / 255)
    assert pq.profile is None
    assert abs(pq.pixels.astype(int) - plain.pixels).max() > 40


def test_a_profile_comes_before_nclx():
    """HEIF and AVIF say so (ISO/IEC 23000-22, 7.3.6.4), and writers put both into a file."""
    stream = io.BytesIO()
    Image.fromarray(SAMPLES).save(stream, "AVIF", icc_profile=SRGB)

    assert read_image(stream.getvalue()).profile == SRGB


def test_an_avif_with_broken_boxes_has_no_code_points():
    stream = io.BytesIO()
    Image.fromarray(SAMPLES).save(stream, "AVIF")
    content = stream.getvalue()
    for place in range(20, content.index(b"mdat"), 3):
        for junk in (b"\xff\xff\xff", b"\0\0\0"):
            avif_code_points(io.BytesIO(content[:place] + junk + content[place + 3 :]))
    assert avif_code_points(io.BytesIO(b"")) is None
    assert avif_code_points(io.BytesIO(content)) == (1, 13, True)


def test_a_made_profile_is_littlecms_srgb_for_srgbs_primaries():
    profile = matrix_profile((0.3127, 0.3290, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06), 0)
    pixels = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)

    converted = np.asarray(to_srgb(Image.fromarray(pixels), profile)).astype(int)

    assert abs(converted - pixels).max() <= 1
    assert rgb_profile(profile) == profile
    opened = ImageCms.getOpenProfile(io.BytesIO(profile))
    assert opened.profile.version == pytest.approx(4.3)
    assert np.allclose(opened.profile.media_white_point[0], (0.9642, 1, 0.8249), atol=1e-3)


def test_a_pil_image_with_gamma_has_its_profile():
    image = Image.fromarray(SAMPLES)
    image.info["gamma"] = 1.0

    assert read_image(image).profile == read_image(image).profile is not None
