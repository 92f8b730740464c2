import dataclasses
import hashlib
import re

import pytest
from birefnet_models import UnknownModelError, all_cards, embedded_path, find, search

EMBEDDED = [card for card in all_cards() if card.embedded]
OPTIONAL = {
    *("trained_range", "terms", "gated", "ready_made", "release_file"),
    *("scores", "weights", "notes"),
}


def by_name(card) -> str:
    return card.name


def test_names_and_repositories_are_unique():
    for field in ("name", "id"):
        values = [getattr(card, field).lower() for card in all_cards()]
        assert len(values) == len(set(values))


def test_every_official_checkpoint_is_there():
    """The hub repositories of the project's notes on the field."""
    official = {
        *("BiRefNet", "BiRefNet_lite", "BiRefNet_lite-2K", "BiRefNet_512x512", "BiRefNet_HR"),
        *("BiRefNet_dynamic", "BiRefNet-matting", "BiRefNet_HR-matting", "BiRefNet-portrait"),
        *("BiRefNet_dynamic-matting", "BiRefNet_lite-matting", "BiRefNet-DIS5K", "BiRefNet-COD"),
        *("BiRefNet-DIS5K-TR_TEs", "BiRefNet-HRSOD", "BiRefNet-legacy"),
    }
    there = {card.id for card in all_cards()}

    assert {f"ZhengPeng7/{name}" for name in official} | {"briaai/RMBG-2.0"} <= there


def test_a_card_is_found_by_its_name_or_repository_and_frozen():
    card = find("lite")

    assert card.name == "lite"
    assert find("zhengpeng7/birefnet_LITE") is card
    with pytest.raises(dataclasses.FrozenInstanceError):
        card.name = "other"


def test_an_unknown_name_is_an_error_that_lists_the_known():
    with pytest.raises(UnknownModelError, match=r"'litle'; did you mean lite\?"):
        find("litle")


def test_a_search_finds_the_models_that_have_every_word():
    names = {card.name for card in search("matting")}

    assert {"matting", "hr-matting", "lite-matting", "portrait"} <= names
    assert [card.name for card in search("light Matting")] == ["lite-matting"]
    assert search("cooking") == ()


@pytest.mark.parametrize("card", all_cards(), ids=by_name)
def test_the_record_is_complete(card):
    embedding = set() if card.embedded else {"file", "sha256"}
    for field in dataclasses.fields(card):
        if field.name not in OPTIONAL | embedding:
            assert getattr(card, field.name), field.name
    sizes = (card.trained_size, *(card.trained_range or ()))
    assert all(side > 0 and side % 32 == 0 for size in sizes for side in size)
    assert card.name == card.name.lower()
    assert "/" not in card.name
    assert not card.release_file or re.fullmatch(r"BiRefNet.*-epoch_\d+\.pth", card.release_file)


@pytest.mark.parametrize("card", all_cards(), ids=by_name)
def test_every_score_has_a_source_and_every_hash_says_who_says_so(card):
    for score in card.scores:
        assert score.source
        assert 0 < score.value < 1 or score.metric == "HCE"
    for known in card.weights:
        assert known.source
        assert re.fullmatch(r"[0-9a-f]{64}", known.sha256)
        assert re.fullmatch(r"[0-9a-f]{40}", known.revision)


def test_the_same_network_at_the_same_size_costs_the_same():
    costs = {}
    for card in all_cards():
        key = (card.backbone, card.trained_size)
        assert costs.setdefault(key, (card.time, card.memory)) == (card.time, card.memory)


def test_a_license_that_forbids_more_than_usual_has_terms_to_accept():
    for card in all_cards():
        assert bool(card.terms) == (card.license != "MIT"), card.name
    assert find("rmbg-2.0").gated


@pytest.mark.parametrize("card", EMBEDDED, ids=by_name)
def test_the_embedded_file_is_the_one_on_record(card):
    content = embedded_path(card).read_bytes()

    assert hashlib.sha256(content).hexdigest() == card.sha256
    assert len(content) < 10_000_000


def test_a_model_that_is_not_embedded_has_no_file_in_the_package():
    with pytest.raises(UnknownModelError, match="lite does not ship"):
        embedded_path(find("lite"))
