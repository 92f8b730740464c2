"""Where screenshots stay, to be looked at, and of which widths they are."""

from pathlib import Path

SCREENS = Path(__file__).parents[2] / "out" / "screens"
WIDTHS = {"desktop": 1200, "phone": 360}
