from pathlib import Path

import numpy as np
import pytest
from birefnet_runtime.images.write import write_image
from studies.pictures.image_readers import FILES, by_opencv, decode_once, measure_times

PIXELS = np.random.default_rng(3).integers(0, 65536, (30, 40, 4)).astype(np.uint16)


@pytest.mark.parametrize("channels", [3, 4])
def test_both_readers_give_the_same(tmp_path, channels):
    file = tmp_path / "image.png"
    write_image(file, PIXELS[..., :channels])

    np.testing.assert_array_equal(by_opencv(file), PIXELS[..., :channels])
    assert measure_times(file).keys() == {"read_image", "OpenCV"}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells")
def test_what_decoding_adds_is_put_beside_what_was_expected(tmp_path):
    write_image(tmp_path / "image.png", PIXELS)

    measured = decode_once(str(tmp_path / "image.png"))

    assert measured["added_memory_bytes"] <= measured["decoded_bytes"]


def test_every_format_is_there_that_keeps_a_picture_of_its_own():
    from birefnet_runtime.images import read

    assert {form for _, form, _ in FILES.values()} >= read._DECODER_BYTES.keys() - {"HEIF"}
