import json
from pathlib import Path

from studies.runs import file_check

STORED = json.loads((Path(file_check.__file__).parents[2] / "results/file_check.json").read_text())


def test_the_check_costs_what_integrity_says_of_it():
    """At most 3 ms a megabyte, where this was measured."""
    for result in STORED["check"].values():
        assert result["median_s"] / result["bytes"] < 3e-9
        assert result["again_s"] < result["median_s"] / 2
    assert file_check.markdown_table(STORED).count("\n") == 6
