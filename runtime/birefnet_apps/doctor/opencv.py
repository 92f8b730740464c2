"""Whether another wheel of OpenCV lies over ours."""

from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from types import ModuleType

import cv2
from birefnet_models.text import joined
from birefnet_runtime.session.providers.ort_build import owners

OURS = "opencv-python-headless"


def opencv_problem(
    installed: Iterable[Distribution] | None = None, module: ModuleType = cv2
) -> str | None:
    """One clause: what is wrong with the installed OpenCV, and what to do; None if nothing is.

    opencv-python, -contrib and -headless all bring a package `cv2`. The one installed last counts,
    and where one of them is removed, its files are missing from the others.
    """
    wheels = owners(distributions() if installed is None else installed, "cv2", ("opencv-",))
    if len(wheels) > 1:
        names = " ".join(wheel.partition(" ")[0] for wheel in wheels)
        return (
            f"{joined(wheels)} are installed over one another; keep one: "
            f"pip uninstall -y {names} && pip install {OURS}"
        )
    if not hasattr(module, "resize"):
        return f"cv2 is empty; repair: pip install --force-reinstall --no-deps {OURS}"
    return None
