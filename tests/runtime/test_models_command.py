import dataclasses
import json

import birefnet_models
from birefnet_runtime.cli import main
from click.testing import CliRunner


def test_the_table_names_every_model():
    result = CliRunner().invoke(main, ["models"])

    assert result.exit_code == 0
    for card in birefnet_models.all_cards():
        assert card.name in result.stdout
        assert card.purpose in result.stdout


def test_json_holds_everything():
    result = CliRunner().invoke(main, ["models", "--json"])

    cards = [dataclasses.asdict(card) for card in birefnet_models.all_cards()]
    assert json.loads(result.stdout) == json.loads(json.dumps(cards))
