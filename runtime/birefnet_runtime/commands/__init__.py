"""The runtime's commands."""

__all__: list[str] = []
