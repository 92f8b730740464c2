"""How fast, how much memory."""

__all__: list[str] = []
