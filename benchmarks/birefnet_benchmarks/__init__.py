"""How fast, how much memory, how equal, how good."""

__all__: list[str] = []
