from dataclasses import replace

import pytest
from birefnet_benchmarks.evaluation.published import card_of, published_scores
from birefnet_benchmarks.evaluation.quality import metrics
from birefnet_models import embedded_path, find

from ..conftest import write_brightness

ALL = metrics(efforts=True)
S_AT_TRAINED = ("S", "DIS-VD", None)


def test_scores_are_of_the_data_set_and_the_size():
    general = find("general")

    at_trained = published_scores(general, "dis-vd", (1024, 1024), ALL)
    at_half = published_scores(general, "DIS-VD", (512, 512), ALL)

    assert {key: score.value for key, score in at_trained.items()} == {
        "s_measure": 0.911,
        "weighted_f": 0.875,
        "hce": 1069,
    }
    assert at_half["s_measure"].value == 0.86
    assert at_half["s_measure"].size == (512, 512)


def test_of_several_scores_the_first_counts():
    general = find("general")
    (first,) = (s for s in general.scores if (s.metric, s.dataset, s.size) == S_AT_TRAINED)
    later = replace(first, value=0.5)

    scores = published_scores(replace(general, scores=(first, later)), "DIS-VD", (1024, 1024), ALL)

    assert scores == {"s_measure": first}


@pytest.mark.parametrize(
    ("name", "dataset", "size"),
    [
        ("general", "DIS-TE1", (1024, 1024)),
        ("general", "DIS-VD", (1024, 768)),
        ("general", "DIS-VD", None),
        ("nano", "DIS-VD", (192, 192)),
    ],
)
def test_there_are_none_of_anything_else(name, dataset, size):
    assert published_scores(find(name), dataset, size, ALL) == {}


def test_only_what_was_measured_is_asked_for():
    found = published_scores(find("general"), "DIS-VD", (1024, 1024), metrics())

    assert set(found) == {"s_measure", "weighted_f"}
    assert published_scores(None, "DIS-VD", (1024, 1024), ALL) == {}


def test_every_score_of_the_zoo_has_a_metric():
    known = {metric.published for metric in ALL}

    for name in ("general", "lite-2k", "512", "portrait"):
        assert {score.metric for score in find(name).scores} <= known


def test_a_file_is_known_by_what_it_says_or_by_its_hash(tmp_path):
    nano = find("nano")
    named = write_brightness(tmp_path / "named.onnx", model="lite")
    other = write_brightness(tmp_path / "other.onnx")

    assert card_of(named, "0" * 64) == find("lite")
    assert card_of(other, "0" * 64) is None
    assert nano.sha256
    assert card_of(embedded_path(nano), nano.sha256) == nano


def test_a_file_that_is_no_onnx_is_of_no_model(tmp_path):
    (tmp_path / "model.ort").write_bytes(b"something else")

    assert card_of(tmp_path / "model.ort", "0" * 64) is None
