"""The word on int8 files whose sums saturate."""

import pytest
from birefnet_runtime import ProviderWarning, Segmenter
from birefnet_runtime.machine import Processor
from birefnet_runtime.session import memory as int8_sums

INT8 = {"birefnet.precision": "int8"}
HASWELL = Processor("Intel Core i5-4590", ("AVX2",))
SKYLAKE_X = Processor("Intel Xeon Gold 6148", ("AVX2", "AVX-512"))
ZEN_4 = Processor("AMD EPYC 9554", ("AVX2", "AVX-512", "VNNI"))
ARM = Processor("Neoverse-N1", ("NEON",))


@pytest.mark.parametrize(
    ("properties", "processor", "said"),
    [
        (INT8, HASWELL, True),
        (INT8, SKYLAKE_X, True),
        (INT8, ZEN_4, False),
        (INT8, ARM, False),
        (INT8 | {"birefnet.int8_pair_limit": "128"}, HASWELL, False),
        ({"birefnet.precision": "fp32"}, HASWELL, False),
        ({}, HASWELL, False),
    ],
)
def test_where_it_is_said(monkeypatch, properties, processor, said):
    monkeypatch.setattr(int8_sums, "read_processor", lambda: processor)

    notes = int8_sums.saturation_notes(properties)
    assert bool(notes) == said
    for note in notes:
        assert processor.model in note
        assert "export it again" in note
        assert "\n" not in note


def test_a_segmenter_warns_of_it(monkeypatch):
    monkeypatch.setattr("birefnet_runtime.segmenter.saturation_notes", lambda _: ["saturates"])

    with pytest.warns(ProviderWarning, match="saturates"):
        Segmenter()
