from pathlib import Path

import pytest
from birefnet_models import AccessError, embedded_path, find
from birefnet_models.cache import MODEL_OF_PRECISION, export_directory
from birefnet_runtime import ModelError, Segmenter
from birefnet_runtime.model.locate import find_model

from ...conftest import write_model


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "cache"


def exported(name: str, variant: str = "fp32-native") -> Path:
    precision = variant.partition("-")[0]
    return write_model(export_directory(name, variant) / MODEL_OF_PRECISION[precision])


def refused(model) -> str:
    with pytest.raises(ModelError) as caught:
        find_model(model)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_embedded_model_needs_no_cache():
    assert find_model("nano").path == embedded_path(find("nano"))


@pytest.mark.parametrize("typed", ["lite", "LITE", "ZhengPeng7/BiRefNet_lite"])
def test_an_exported_model_is_found_by_name_and_by_repository(typed, picture):
    file = exported("lite")

    assert find_model(typed).path == file
    assert Segmenter(typed)(picture).shape == picture.shape[:2]


def test_the_exact_export_wins_and_another_is_named_by_its_words():
    fp16, fp32 = exported("lite", "fp16-native"), exported("lite", "fp32-gridsample")

    assert find_model("lite").path == fp32
    assert find_model("lite:fp16").path == fp16
    assert find_model("lite:gridsample-fp32").path == fp32
    assert refused("lite:int4") == (
        "lite is in the cache as fp32-gridsample, fp16-native, not as int4"
    )


def test_a_repository_outside_the_zoo_is_found_too():
    file = exported("someone/shoes")

    assert find_model("someone/shoes").path == file


@pytest.mark.parametrize("typed", ["hr", "ZhengPeng7/BiRefNet_HR", "ZhengPeng7/BiRefNet_HR:fp16"])
def test_a_model_that_is_not_here_is_made(typed, monkeypatch):
    monkeypatch.setattr("birefnet_runtime.model.locate.built", lambda *asked: Path(*asked[:2]))

    assert find_model(typed).path == Path("hr", typed.partition(":")[2])


def test_an_interrupted_export_is_no_model(monkeypatch):
    monkeypatch.setattr("birefnet_runtime.model.locate.built", lambda *_: Path("made"))
    (export_directory("lite", "fp32-native") / "onnx").mkdir(parents=True)

    assert find_model("lite").path == Path("made")


def test_a_name_wins_over_a_file_and_a_path_means_the_file():
    file = exported("lite")
    write_model(Path("lite"))

    assert find_model("lite").path == file
    assert find_model("./lite").path == Path("lite")
    assert find_model(Path("lite")).path == Path("lite")


def test_a_relative_directory_that_looks_like_a_repository_is_a_directory():
    file = write_model(Path("out/lite/onnx/model.onnx"))

    assert find_model("out/lite").path == file


def test_another_tools_folder_with_one_model_is_taken_and_with_several_is_not():
    one = write_model(Path("community/onnx/model_fp16.onnx"))

    assert find_model("./community").path == one
    write_model(Path("community/onnx/model_q4.onnx"))
    assert "several models (model_fp16.onnx, model_q4.onnx); name the one" in refused("./community")
    assert find_model("community/onnx/model_q4.onnx").path.is_file()


def test_a_directory_is_asked_for_a_precision_by_the_word_behind_it():
    whole, small = Path("shoes/onnx/model.onnx"), Path("shoes/onnx/model_quantized.onnx")
    write_model(whole), write_model(small)

    assert find_model("shoes").path == whole
    assert find_model("shoes:int8").path == find_model("./shoes:int8").path == small
    assert "shoes holds fp32, int8, not fp16" in refused("shoes:fp16")
    assert "did you mean int8?" in refused("shoes:in8")


def test_a_folder_without_a_model_says_what_it_should_hold():
    Path("empty").mkdir()

    assert refused("empty").startswith("empty: an export directory holds onnx/model.onnx")


@pytest.mark.parametrize("typed", ["weights/model.safetensors", "BiRefNet.pth"])
def test_a_checkpoint_names_the_command_that_turns_it_into_a_model(typed):
    assert refused(typed) == f"{typed} is a checkpoint; first: birefnet export {typed} --output DIR"


@pytest.fixture
def thing(hub):
    """A hub with a repository in the usual layout, whose graph says nothing of itself."""
    file = write_model(Path("made.onnx"), facts={})
    processor = b'{"size": 32, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.5, 0.5]}'
    files = {"onnx/model.onnx": file.read_bytes(), "preprocessor_config.json": processor}
    hub.repo("someone/thing").commit(files)
    hub.files["/v1/thing.onnx"] = file.read_bytes()
    return hub


def test_a_repository_of_the_hub_is_a_model_with_its_folders_facts(thing, picture, monkeypatch):
    segmenter = Segmenter("someone/thing")
    alpha = segmenter(picture)

    assert segmenter.metadata.trained_size == (32, 32)
    assert segmenter.metadata.mean == (0.1, 0.2, 0.3)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert (Segmenter("someone/thing")(picture) == alpha).all()


def test_a_url_of_an_onnx_is_a_model_with_upstreams_facts(thing):
    assert Segmenter(f"{thing.url}/v1/thing.onnx").metadata.trained_size == (1024, 1024)


def test_an_export_of_that_name_wins_and_a_revision_means_the_hub(thing):
    file = exported("someone/thing")

    assert find_model("someone/thing").path == file
    assert "as fp32-native, not as fp16" in refused("someone/thing:fp16")
    assert thing.requests == []
    assert find_model("someone/thing@main").path != file


def test_a_folder_of_that_name_wins_and_its_variant_is_asked_about(thing):
    file = write_model(Path("someone/thing/onnx/model.onnx"))

    assert find_model("someone/thing").path == file
    assert refused("someone/thing:fp16") == (
        "someone/thing:fp16: someone/thing is a folder here, which wins over a repository of the "
        "hub; give the .onnx in it, or https://huggingface.co/someone/thing for the repository"
    )
    assert thing.requests == []


def test_a_path_is_never_fetched(thing):
    assert "no such file" in refused(Path("someone/thing"))
    assert "no such file" in refused("./someone/thing")
    assert thing.requests == []


def test_what_is_neither_there_nor_on_the_hub_says_both(thing):
    with pytest.raises(AccessError, match=r"no such repository.*; nor is"):
        find_model("photos/modle")


def test_a_fetched_file_that_was_changed_is_refused(thing):
    file = find_model("someone/thing").path
    file.write_bytes(file.read_bytes()[:-1] + b"x")

    with pytest.raises(ModelError, match="SHA256SUMS"):
        Segmenter("someone/thing")
