"""Whether a provider can run here, found out before a session is opened."""

from birefnet_models.text import joined

from .names import EXECUTION_PROVIDER, OTHERS, execution_provider
from .node_placement import short_name
from .ort_build import Build
from .plugins import PLUGINS, plugin_of
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
    if not is_installed(provider, build):
        return _not_installed(provider, build)
    if provider not in EXECUTION_PROVIDER or provider in OTHERS:
        return None  # which libraries it needs only it knows
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
    if plugin_of(provider):
        return True
    return provider != "openvino" and execution_provider(provider) in build.providers


def _not_installed(provider: str, build: Build) -> str:
    if provider == "openvino":
        wheel = PLUGINS[provider].wheel
        return f"{wheel} is not installed; install it with: pip install 'birefnet-ort[openvino]'"
    if build.conflict:
        return build.conflict
    there = ", ".join(short_name(name) for name in build.providers if "Azure" not in name)
    replace_it = f"replace it: pip uninstall -y {build.package} && pip install 'birefnet-ort[gpu]'"
    how = OTHERS[provider].install if provider in OTHERS else replace_it
    return f"{build.package} {build.version} is a build without it (it has {there}); {how}"
