"""The shapes that an engine is built for, and the device."""

import ctypes

import numpy as np
import onnxruntime
import pytest
from birefnet_runtime import ModelMetadata, SizeError, TensorRT
from birefnet_runtime.session import ort_session as inference_session
from birefnet_runtime.session.ort_options import plan_session
from birefnet_runtime.session.providers import (
    Profile,
    check_profile,
    covers,
    describe_profile,
    fits_profile,
)
from birefnet_runtime.session.tensorrt import CudaDevice, derive_profile, read_device

SQUARE = ModelMetadata(trained_size=(1024, 1024))
WIDE = ModelMetadata(trained_size=(1440, 2560))
ONE = Profile(smallest=(1, 1024, 1024), best=(1, 1024, 1024), largest=(1, 1024, 1024))
MANY = Profile(smallest=(1, 512, 512), best=(4, 1024, 1024), largest=(4, 1024, 2048))


def test_the_trained_size_alone_by_default():
    assert derive_profile(SQUARE) == ONE
    assert derive_profile(WIDE).best == (1, 1440, 2560)


def test_the_sizes_that_are_named_span_it_and_the_first_is_best():
    profile = derive_profile(SQUARE, [1024, (512, 2048), (768, 512)], batch=4)

    assert profile == Profile(smallest=(1, 512, 512), best=(4, 1024, 1024), largest=(4, 1024, 2048))


def test_auto_spans_the_usual_aspect_ratios():
    profile = derive_profile(SQUARE, ["auto"])

    assert profile.best == (1, 1024, 1024)
    # 1:2 of 1024 x 1024 pixels is 724 x 1448; on the grid 736 x 1408 has no more pixels.
    assert profile.smallest == (1, 736, 736)
    assert profile.largest == (1, 1408, 1408)


def test_a_size_off_the_grid_is_refused():
    with pytest.raises(SizeError, match="multiples of 32"):
        derive_profile(SQUARE, [1000])


@pytest.mark.parametrize(
    ("shape", "inside"),
    [
        ((1, 512, 512), True),
        ((4, 1024, 2048), True),
        ((5, 1024, 1024), False),
        ((1, 480, 512), False),
        ((1, 1024, 2080), False),
    ],
)
def test_what_fits(shape, inside):
    assert fits_profile(MANY, shape) is inside


def test_a_wider_profile_covers_a_narrower_one():
    assert covers(MANY, ONE)
    assert covers(ONE, ONE)
    assert not covers(ONE, MANY)
    lower = Profile(smallest=(1, 480, 512), best=ONE.best, largest=ONE.largest)
    assert not covers(MANY, lower), "its smallest shape counts as well"
    higher = Profile(smallest=ONE.smallest, best=ONE.best, largest=(1, 1024, 2080))
    assert not covers(MANY, higher)


def test_a_shape_outside_is_refused_with_the_range_and_the_command():
    check_profile(MANY, (2, 1024, 1024))

    with pytest.raises(SizeError) as caught:
        check_profile(MANY, (8, 2048, 1024))

    assert str(caught.value) == (
        "a batch of 8 at 2048x1024 lies outside what this TensorRT engine was built for (1 to 4 at "
        "512x512 to 1024x2048); build one for it: birefnet warm --size 2048x1024 --batch 8"
    )
    assert describe_profile(ONE) == "1 at 1024x1024"


def test_height_and_width_are_not_mixed_up(monkeypatch, model):
    """An engine for wide pictures takes no tall ones."""
    wide = Profile(smallest=(1, 32, 64), best=(1, 32, 64), largest=(1, 64, 128))
    monkeypatch.setattr(inference_session, "BoundRunner", lambda *_, **__: Bound())
    monkeypatch.setattr(inference_session, "read_placement", lambda _: None)

    class Bound:
        def run(self, tensor, name):
            return tensor[:, :1]

    def start():
        return onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])

    record = TensorRT(profile=wide)
    session = inference_session.OpenSession(start, record, plan_session(record, threads=1))

    session.run(None, {"input_image": np.ones((1, 3, 64, 128), np.float32)})
    with pytest.raises(SizeError, match="at 128x64 lies outside"):
        session.run(None, {"input_image": np.ones((1, 3, 128, 64), np.float32)})


class Driver:
    """libcuda with one L4 whose compute capability is 8.9."""

    def cuInit(self, flags):
        return 0

    def cuDeviceGet(self, device, ordinal):
        return 0 if ordinal == 0 else 101

    def cuDeviceGetName(self, name, length, device):
        name.value = b"NVIDIA L4"
        return 0

    def cuDeviceGetAttribute(self, value, attribute, device):
        ctypes.cast(value, ctypes.POINTER(ctypes.c_int))[0] = {75: 8, 76: 9}[attribute]
        return 0


def test_the_device_is_asked_through_the_driver():
    def no_driver(name):
        raise OSError(name)

    assert read_device(0, lambda _: Driver()) == CudaDevice("NVIDIA L4", "8.9")
    assert read_device(1, lambda _: Driver()) is None
    assert read_device(0, no_driver) is None
