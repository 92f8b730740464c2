import pytest
from birefnet_runtime.units import format_seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00123, "1.23 ms"),
        (0.85, "850 ms"),
        (0.99951, "1 s"),
        (2.449, "2.45 s"),
        (59.9, "59.9 s"),
        (59.96, "1 min 0 s"),
        (200, "3 min 20 s"),
    ],
)
def test_seconds_as_text(seconds, text):
    assert format_seconds(seconds) == text
