"""Whether a provider took the options that it was given, as far as it tells."""

from collections.abc import Mapping

from ...errors import ProviderError
from .options import Named

_SPELLINGS = {"true": "1", "false": "0"}


def check_options(record: Named, echoed: Mapping[str, str]) -> tuple[str, ...]:
    """Hold the options that were asked for against those that the session says it runs with.

    ONNX Runtime hands options on unread: some providers refuse what they don't know, others do as
    if nothing was said.

    Args:
        record: what was asked for.
        echoed: the provider's part of `InferenceSession.get_provider_options`.

    Returns:
        What the user should know, a line each: that this provider tells nothing.

    Raises:
        ProviderError: an option that isn't among those, or has another value there.
    """
    if not record.options:
        return ()
    if not echoed:
        given = ", ".join(f"{key}={value}" for key, value in record.options.items())
        return (f"{record.name} doesn't say which options it took: {given} may do nothing",)
    for key, value in record.options.items():
        if key not in echoed:
            raise ProviderError(f"it took no option {key!r}; it has {', '.join(sorted(echoed))}")
        if _plain(value) != _plain(echoed[key]):
            raise ProviderError(f"it was given {key}={value} and runs with {key}={echoed[key]}")
    return ()


def _plain(value: str) -> str:
    """A value without what is spelling alone."""
    low = value.strip().lower()
    return _SPELLINGS.get(low, low)
