"""What a request's `Accept` header prefers."""

from collections.abc import Sequence


def prefers_json(headers: Sequence[str]) -> bool:
    """Whether JSON is asked for before pictures (RFC 9110, 12.5.1).

    Args:
        headers: the `Accept` headers. Of what axios sends, `application/json, text/plain, */*`,
            all is equally welcome, so a picture is; without any, too.
    """
    qualities = dict(_range(part) for header in headers for part in header.split(",") if part)
    json = qualities.get("application/json", qualities.get("application/*", 0.0))
    pictures = [
        quality
        for kind, quality in qualities.items()
        if kind.startswith("image/") or kind in {"*/*", "application/zip"}
    ]
    return json > max(pictures, default=0.0)


def _range(text: str) -> tuple[str, float]:
    """A media range and its quality, 0 to 1; what isn't a number is 0."""
    kind, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return kind, min(1.0, max(0.0, float(value)))
            except ValueError:
                return kind, 0.0
    return kind, 1.0
