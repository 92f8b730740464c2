import dataclasses
import json

import birefnet_models
import pytest
from birefnet_apps.cli.main import main
from birefnet_models.cache import export_directory
from click.testing import CliRunner

from ...conftest import write_model


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path))
    (tmp_path / "here").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "here")


def models(*arguments: str):
    return CliRunner().invoke(main, ["models", *arguments])


def test_the_table_names_every_model():
    result = models()

    assert result.exit_code == 0
    for card in birefnet_models.all_cards():
        assert card.name in result.stdout
        assert card.purpose in result.stdout
    assert "rmbg-2.0" in result.stdout.splitlines()[-1]
    assert result.stdout.splitlines()[-1].endswith("CC-BY-NC-4.0  gated")


def test_what_is_embedded_or_exported_is_marked():
    (export_directory("lite", "fp32-native") / "onnx").mkdir(parents=True)
    (export_directory("lite", "fp32-native") / "onnx" / "model.onnx").touch()

    marked = [line.split()[0] for line in models().stdout.splitlines() if line.endswith("here")]

    assert marked == ["nano", "lite"]
    assert "here       fp32-native" in models("lite").stdout


def test_json_holds_everything():
    records = json.loads(models("--json").stdout)

    cards = [dataclasses.asdict(card) for card in birefnet_models.all_cards()]
    assert [record.pop("here") for record in records] == [card["name"] == "nano" for card in cards]
    assert records == json.loads(json.dumps(cards))


def test_one_model_is_shown_with_what_is_known_and_what_is_not():
    text = models("rmbg-2.0", "ZhengPeng7/BiRefNet_HR").stdout

    assert "CC-BY-NC-4.0: non-commercial use only" in text
    assert "the hub asks for a login" in text
    assert "file not known" in text
    assert "scores     none known" in text
    assert "not yet: birefnet export hr" in text


def test_a_search_by_purpose():
    lines = models("--purpose", "light matting").stdout.splitlines()

    assert [line.split()[0] for line in lines] == ["name", "lite-matting"]
    assert models("--purpose", "cooking").stdout == "no model is for 'cooking'\n"


def test_an_unknown_name_is_one_line():
    result = models("litle")

    assert result.exit_code == 1
    assert "did you mean lite?" in result.stderr


@pytest.fixture
def thing(hub, tmp_path):
    file = write_model(tmp_path / "made.onnx")
    hub.repo("someone/thing").commit({"onnx/model.onnx": file.read_bytes()})
    return hub


def test_a_model_is_fetched_listed_and_removed(thing, tmp_path):
    hub = thing
    fetched = models("--fetch", "someone/thing")
    commit = hub.repo("someone/thing").branches["main"]

    assert fetched.exit_code == 0, fetched.output
    assert "pinned someone/thing@main:onnx at commit" in fetched.stderr
    assert (tmp_path / "here" / "birefnet.lock").is_file()
    for listed in (models(), models("--cached"), models("someone/thing")):
        last = listed.stdout.splitlines()[-1]
        assert last.split() == [
            *("someone/thing", "onnx/model.onnx", "0", "MB", f"{hub.url}/someone/thing", "main"),
            *("at", commit[:12]),
        ]
    (record,) = json.loads(models("--cached", "--json").stdout)
    assert record["kind"] == "ready-made"
    removed = models("--remove", "someone/thing")
    assert removed.stderr.splitlines()[-1] == "birefnet: 0 MB freed"
    assert models("--cached").stdout == "nothing is in the cache\n"
    again = models("--remove", "someone/thing")
    assert again.exit_code == 1
    assert "is called someone/thing" in again.stderr


def test_update_moves_the_pin(thing, tmp_path):
    hub = thing
    models("--fetch", "someone/thing")
    newer = write_model(tmp_path / "newer.onnx", weight=5.0).read_bytes()
    commit = hub.repo("someone/thing").commit({"onnx/model.onnx": newer})

    assert commit not in models("--fetch", "someone/thing").stderr
    assert f"at commit {commit}" in models("--update", "someone/thing").stderr


@pytest.mark.parametrize(
    "arguments",
    [("--remove",), ("--fetch",), ("--remove", "--fetch", "x"), ("--cached", "--update")],
)
def test_what_makes_no_sense_is_a_usage_error(arguments):
    assert models(*arguments).exit_code == 2
