from types import SimpleNamespace

import pytest
from birefnet_apps.doctor import opencv_problem

from ..runtime.session.test_availability import wheel


@pytest.mark.parametrize("other", ["opencv-python", "opencv-contrib-python"])
def test_another_opencv_over_ours_is_named(tmp_path, other):
    installed = [
        wheel(tmp_path, "opencv-python-headless", "cv2/__init__.py"),
        wheel(tmp_path, other, "cv2/__init__.py"),
        wheel(tmp_path, "numpy", "numpy/__init__.py"),
    ]

    problem = opencv_problem(installed)

    assert f"{other} 1.31.1" in problem
    assert "opencv-python-headless 1.31.1" in problem
    assert "are installed over one another; keep one: pip uninstall -y opencv-" in problem
    assert problem.endswith("&& pip install opencv-python-headless")


def test_one_opencv_is_none_too_many(tmp_path):
    assert opencv_problem([wheel(tmp_path, "opencv-python", "cv2/__init__.py")]) is None
    assert opencv_problem() is None


def test_what_is_left_of_a_removed_one(tmp_path):
    ours = wheel(tmp_path, "opencv-python-headless", "cv2/__init__.py")

    problem = opencv_problem([ours], SimpleNamespace())

    assert problem == (
        "cv2 is empty; repair: pip install --force-reinstall --no-deps opencv-python-headless"
    )
