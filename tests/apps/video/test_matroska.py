import io
import struct

import numpy as np
import pytest
from birefnet_apps.video.frames import frame_header, header, read_frames


def frames(count: int = 3) -> list[tuple[int, np.ndarray]]:
    random = np.random.default_rng(3)
    times = [0, 40, 123_456][:count]
    return [(time, random.integers(0, 256, (5, 7, 4), dtype=np.uint8)) for time in times]


def written(shown: list[tuple[int, np.ndarray]]) -> bytes:
    parts = [header((5, 7))]
    for time, pixels in shown:
        parts += [frame_header(time, pixels.nbytes), pixels.tobytes()]
    return b"".join(parts)


def test_what_is_written_is_read():
    found = list(read_frames(io.BytesIO(written(frames())), (5, 7)))

    assert [time for time, _ in found] == [0, 40, 123_456]
    for (_, one), (_, other) in zip(found, frames(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("lost", [1, 100, 139, 141])
def test_a_frame_that_is_cut_is_left_out(lost):
    found = list(read_frames(io.BytesIO(written(frames())[:-lost]), (5, 7)))

    assert [time for time, _ in found] == [0, 40]


def test_what_a_muxer_adds_is_passed_over():
    """A cluster of unknown length whose blocks have times of their own, one in a group."""
    (_, pixels), *_ = frames()
    block = struct.pack(">BhB", 0x81, -7, 0) + pixels.tobytes()
    length = len(block).to_bytes(2, "big")
    stream = (
        b"\x1a\x45\xdf\xa3\x80"  # EBML, empty
        b"\xec\x83abc"  # Void
        b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"  # Segment of unknown length
        b"\x1f\x43\xb6\x75\xff"  # Cluster of unknown length
        b"\xe7\x82\x03\xe8"  # Timestamp 1000
        + b"\xa3" + bytes([0x40 | length[0], length[1]]) + block  # SimpleBlock
        + b"\xa0\xff" + b"\xa1" + bytes([0x40 | length[0], length[1]]) + block  # BlockGroup, Block
        + b"\x9b\x81\x28"  # BlockDuration
    )  # fmt: skip

    assert [time for time, _ in read_frames(io.BytesIO(stream), (5, 7))] == [993, 993]


@pytest.mark.parametrize("content", [b"", b"\0", b"no Matroska at all", bytes(range(256))])
def test_anything_else_has_no_frames(content):
    assert list(read_frames(io.BytesIO(content), (5, 7))) == []
