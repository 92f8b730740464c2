"""What `make test-lowest` installs."""

from .lowest_versions import constraints, lowest_versions

PROJECT = {
    "dependencies": ["numpy>=1.26", "Pillow>=11.3", "plain"],
    "optional-dependencies": {
        "cpu": ["onnxruntime[x]>=1.20; sys_platform != 'darwin'"],
        "export": ["onnx>=1.18"],
        "gpu": ["onnxruntime-gpu>=1.25"],
    },
}


def test_the_lowest_of_the_package_and_of_the_extras_that_are_asked_for():
    assert lowest_versions(PROJECT, ["cpu"]) == {
        "numpy": "1.26",
        "pillow": "11.3",
        "onnxruntime": "1.20",
    }


def test_they_take_the_place_of_the_tested_versions():
    tested = "# comment\nnumpy==2.3.4\npytest==9.2.0\nscipy==1.17.1\nonnx==1.20.0\n"

    lines = constraints(tested, {"numpy": "1.26", "onnx": "1.18"})

    assert lines == ["numpy==1.26", "onnx==1.18", "pytest==9.2.0"]
