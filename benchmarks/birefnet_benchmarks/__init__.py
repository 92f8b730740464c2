"""How fast, how much memory, how equal, how good."""

from birefnet_models.base import telemetry as _telemetry  # noqa: F401, acts when imported

__all__: list[str] = []
