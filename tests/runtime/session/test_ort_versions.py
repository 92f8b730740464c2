import pytest
from birefnet_runtime.session.ort_errors import has_deform_conv, older, required_version


@pytest.mark.parametrize(
    ("operators", "opset", "what", "version"),
    [
        ({"Conv", "DeformConv"}, 23, "DeformConv", "1.25"),
        ({"GridSample"}, 23, "opset 23", "1.23"),
        ({"GridSample"}, 17, "opset 17", "1.12"),
        (set(), 9, "opset 9", "1.7"),
    ],
)
def test_what_asks_for_the_newest_onnx_runtime(operators, opset, what, version):
    assert required_version(operators, opset) == (what, version)


def test_versions_are_numbers_and_not_text():
    assert older("1.7.0", "1.25")
    assert not older("1.25.0+cpu", "1.25")
    assert not older("2.0", "1.25")
    assert has_deform_conv("1.32.0.dev20261101")
    assert not has_deform_conv("1.24.4")
