import json
from pathlib import Path

import onnx
from birefnet_export.publish.model_card import CARD_MARK, card_graphs, model_card


def with_facts(directory: Path, tmp_path: Path, name: str = "model.onnx", **facts: str) -> Path:
    """A copy of the export whose metadata says something else."""
    model = onnx.load(directory / "onnx" / "model.onnx")
    stated = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, stated | {f"birefnet.{k}": v for k, v in facts.items()})
    (tmp_path / "onnx").mkdir(exist_ok=True)
    onnx.save(model, tmp_path / "onnx" / name)
    return tmp_path


def test_a_card_says_what_it_is_how_equal_and_how_it_is_used(directory):
    (graph,) = card_graphs(directory)
    card = model_card("me/shoes-ONNX", [graph])
    parity = graph.stated("parity")

    assert card.startswith("---\nlibrary_name: transformers.js\n")
    assert f"---\n{CARD_MARK}\n\n# shoes-ONNX\n" in card
    assert "It was trained at 96x160" in card
    assert graph.facts["checkpoint_sha256"] in card
    assert f"rows, 23 | {parity['logits_max_abs']:.1e} | {parity['mask_max_abs']:.1e} |" in card
    assert "at 1x32x32, 2x96x160" in card
    assert "birefnet cutout photo.jpg --model me/shoes-ONNX --output" in card
    assert 'Segmenter("me/shoes-ONNX")' in card
    assert "pipeline('background-removal', 'me/shoes-ONNX', { dtype: 'fp32' })" in card
    assert "https://huggingface.co/me/shoes-ONNX/resolve/main/onnx/model.onnx" in card
    assert "const [height, width] = [96, 160];" in card
    assert "new ort.Tensor('float32', tensor, [1, 3, height, width])" in card
    assert "which the export could not tell" in card
    assert not any(word in card for word in ("None", "unknown", "$"))


def test_what_is_known_of_the_source_is_in_the_front_matter(directory, tmp_path):
    folder = with_facts(
        directory,
        tmp_path,
        source="briaai/RMBG-2.0@" + "a" * 40,
        model="rmbg-2.0",
        license="CC-BY-NC-4.0",
    )
    card = model_card("me/x", card_graphs(folder))

    assert "license: cc-by-nc-4.0\nbase_model: briaai/RMBG-2.0\n" in card
    assert "CC-BY-NC-4.0, as the checkpoint" in card
    assert "non-commercial use only" in card


def test_every_precision_of_the_folder_is_in_the_table_the_exact_one_first(directory, tmp_path):
    with_facts(directory, tmp_path, "model_fp16.onnx", precision="fp16", parity="{}")
    folder = with_facts(directory, tmp_path)
    graphs = card_graphs(folder)
    card = model_card("me/x", graphs, others=["onnx/model_q4.onnx"])

    assert [graph.path for graph in graphs] == ["onnx/model.onnx", "onnx/model_fp16.onnx"]
    assert "| `onnx/model_fp16.onnx` | fp16 |" in card
    assert "`fp32` or `fp16`" in card
    assert "Also here, pushed apart: `onnx/model_q4.onnx`." in card


def test_files_of_others_are_not_on_the_card(directory, tmp_path):
    model = onnx.load(directory / "onnx" / "model.onnx")
    del model.metadata_props[:]
    (tmp_path / "onnx").mkdir()
    onnx.save(model, tmp_path / "onnx" / "model.onnx")

    assert card_graphs(tmp_path) == []


def test_hostile_facts_break_nothing(directory, tmp_path):
    folder = with_facts(directory, tmp_path, precision="x", parity=json.dumps([1]))

    assert "| fp32 |" in model_card("me/x", card_graphs(folder))
