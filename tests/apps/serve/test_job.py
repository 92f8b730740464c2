"""What becomes of a picture before and after the run: regions, sizes, colors, memory."""

import io
import zipfile
from dataclasses import replace

import numpy as np
from birefnet_apps.files import steps
from birefnet_apps.serve.apis.removebg import read_removebg
from birefnet_apps.serve.job import weigh_order
from birefnet_apps.serve.settings import Settings
from birefnet_runtime import Segmenter
from birefnet_runtime.images.picture import Picture
from PIL import Image, ImageCms

from .conftest import png


def alpha_of(image: Image.Image) -> np.ndarray:
    return np.asarray(image)[..., 3]


def test_a_region_in_pixels_is_of_the_picture_that_was_sent(server):
    two = np.zeros((1000, 2000, 3), np.uint8)
    two[300:700, 200:500] = two[300:700, 1500:1800] = 255

    full = server.removebg(png(two), roi="0px 0px 1000px 1000px", size="full")
    small = server.removebg(png(two), roi="0px 0px 1000px 1000px", size="preview")

    for answer in (full, small):
        alpha = alpha_of(answer.image())
        height, width = alpha.shape
        assert alpha[height // 2, round(width * 0.175)] == 255
        assert alpha[:, width // 2 + 1 :].max() == 0


def test_a_background_s_memory_counts():
    one, other = png(np.zeros((300, 400, 3), np.uint8)), png(np.zeros((900, 100, 3), np.uint8))
    order, _ = read_removebg({"image_file": one, "bg_image_file": other})

    weight = weigh_order(order, Settings())

    alone = weigh_order(replace(order, background_image=None), Settings())
    behind = weigh_order(replace(order, source=other, background_image=None), Settings())
    assert weight.pixels == 300 * 400 + 900 * 100
    assert weight.bytes == alone.bytes + behind.bytes


def test_colors_that_nobody_sees_do_not_bleed_into_a_smaller_picture():
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[:, :47] = (255, 0, 0)
    pixels[:, 47:] = (0, 255, 0)
    opacity = np.zeros((100, 100), np.uint8)
    opacity[:, :47] = 255

    small = steps.shrunk(Picture(pixels, opacity=opacity), 400)

    assert small.opacity is not None
    seen = small.pixels[small.opacity > 0]
    assert len(seen) > 100
    assert seen[:, 1].max() == 0
    assert seen[:, 0].min() == 255


def test_a_zip_keeps_the_color_profile(server):
    image = np.zeros((48, 80, 3), np.uint8)
    image[12:36, 30:50] = 255
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", icc_profile=profile)

    archive = zipfile.ZipFile(io.BytesIO(server.removebg(stream.getvalue(), format="zip").content))

    assert Image.open(archive.open("color.jpg")).info["icc_profile"] == profile


def test_what_is_transparent_in_a_region_is_not_shown_to_the_network(model):
    picture = np.zeros((48, 80, 4), np.uint8)
    picture[12:36, 10:30] = 255
    picture[12:36, 50:70] = (255, 255, 255, 0)
    plain, _ = read_removebg({"image_file": png(picture)})
    whole, _ = read_removebg({"image_file": png(picture), "roi": b"0% 0% 100% 100%"})

    with Segmenter(model, threads=1) as segmenter:
        tensors = [steps.read(order, segmenter).prepared.tensor for order in (plain, whole)]

    assert np.array_equal(*tensors)
