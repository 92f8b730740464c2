import dataclasses
import hashlib

import pytest
from birefnet_models import UnknownModelError, all_cards, embedded_path, find


def test_names_are_unique():
    names = [card.name for card in all_cards()]

    assert len(names) == len(set(names))


def test_a_card_is_found_by_its_name_and_frozen():
    card = find("nano")

    assert card.name == "nano"
    with pytest.raises(dataclasses.FrozenInstanceError):
        card.name = "other"


def test_an_unknown_name_is_an_error_that_lists_the_known():
    with pytest.raises(UnknownModelError, match="no model is named 'lite'; there are: nano"):
        find("lite")


@pytest.mark.parametrize("card", all_cards(), ids=lambda card: card.name)
def test_the_record_is_complete(card):
    for field in dataclasses.fields(card):
        assert getattr(card, field.name), field.name
    assert all(side > 0 and side % 32 == 0 for side in card.trained_size)


@pytest.mark.parametrize("card", all_cards(), ids=lambda card: card.name)
def test_the_embedded_file_is_the_one_on_record(card):
    content = embedded_path(card).read_bytes()

    assert hashlib.sha256(content).hexdigest() == card.sha256
    assert len(content) < 10_000_000
