import io

import numpy as np
import pytest
from birefnet_runtime.images.png import write_png
from studies.pictures.image_writers import WRITERS, compare, keeps_profile


@pytest.mark.slow
def test_every_writer_is_measured_on_what_it_can_write():
    gray = np.zeros((40, 50), np.uint8)
    deep = np.zeros((40, 50, 4), np.uint16)

    assert compare(gray, WRITERS).keys() == WRITERS.keys()
    assert compare(deep, WRITERS).keys() == {name for name in WRITERS if "Pillow" not in name}


@pytest.mark.slow
def test_the_record_of_a_writer():
    record = compare(np.zeros((40, 50, 3), np.uint8), WRITERS)["PNG, OpenCV level 1"]

    assert record["profile_kept"]
    assert record["bytes"] == len(WRITERS["PNG, OpenCV level 1"](np.zeros((40, 50, 3), np.uint8)))
    assert min(record["times_s"]) <= record["median_s"] <= max(record["times_s"])


def test_a_lost_profile_is_noticed():
    stream = io.BytesIO()
    write_png(stream, np.zeros((4, 5), np.uint8))
    assert not keeps_profile(stream.getbuffer())
