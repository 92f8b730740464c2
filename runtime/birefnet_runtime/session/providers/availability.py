"""Whether a provider can run here, found out before a session is opened."""

from importlib.util import find_spec

from birefnet_models.text import joined

from .node_placement import short_name
from .openvino import MODULE, NOT_INSTALLED
from .ort_build import Build
from .ort_options import EXECUTION_PROVIDER
from .shared_libraries import (
    libraries_of,
    missing_libraries,
    preload,
    required_versions,
    what_to_install,
)


def why_unavailable(provider: str, build: Build) -> str | None:
    """One clause: why this provider can't run here and what to install; None if nothing is known
    to stand in its way.

    ONNX Runtime lists what was compiled in; whether its libraries can be loaded shows only when a
    session is opened, and then as a log line.
    """
    if provider == "openvino":
        return None if is_installed(provider, build) else NOT_INSTALLED
    if EXECUTION_PROVIDER[provider] not in build.providers:
        return _not_built_in(provider, build)
    preload(build)
    names = libraries_of(provider, build)
    missing = missing_libraries(names)
    if not missing:
        return None
    required = required_versions(build, names)
    return (
        f"{joined(missing)} can't be loaded; {build.package} {build.version} "
        f"wants {required.describe()}; {what_to_install(missing, build, required)}"
    )


def is_installed(provider: str, build: Build) -> bool:
    """Whether it was compiled into this build or lies beside it; not whether it works."""
    if provider == "openvino":
        return find_spec(MODULE) is not None
    return EXECUTION_PROVIDER[provider] in build.providers


def _not_built_in(provider: str, build: Build) -> str:
    if build.conflict:
        return build.conflict
    there = ", ".join(short_name(name) for name in build.providers if "Azure" not in name)
    return (
        f"{build.package} {build.version} is a build without it (it has {there}); "
        f"replace it: pip uninstall -y {build.package} && pip install 'birefnet-ort[gpu]'"
    )
