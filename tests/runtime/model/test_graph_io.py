"""A graph that takes pixels and gives alpha runs wherever one that takes tensors does."""

import pickle

import numpy as np
import onnx
import pytest
from birefnet_apps.cli import main as cli
from birefnet_runtime import ImageError, ModelError, Segmenter, SizeError
from birefnet_runtime.cutout.refine import Refined
from birefnet_runtime.errors import ProviderError
from birefnet_runtime.model.locate import ModelFile
from birefnet_runtime.model.signature import output_shape
from birefnet_runtime.session.availability import installed_build
from birefnet_runtime.session.memory import choose
from birefnet_runtime.session.providers import TensorRT
from birefnet_runtime.session.tensorrt import resolve
from birefnet_runtime.trial import footprint_of
from click.testing import CliRunner
from onnx import TensorProto, helper
from PIL import Image

from ...conftest import FACTS

PIXEL_FACTS = FACTS | {
    "birefnet.output": "alpha",
    "birefnet.activation_bytes_per_pixel": "100",
}


def root_of_brightness(path, kind, facts):
    """A graph that is NaN where the picture is dark: float32 or float16, logits or a mask."""
    shape = ["batch", "height", "width"]
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1]),
        helper.make_node("Sqrt", ["mean"], ["root"]),
        helper.make_node("Identity" if facts else "Sigmoid", ["root"], ["mask"]),
    ]
    image = helper.make_tensor_value_info("image", kind, [shape[0], 3, *shape[1:]])
    mask = helper.make_tensor_value_info("mask", kind, [shape[0], 1, *shape[1:]])
    graph = helper.make_graph(nodes, "root", [image], [mask])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, dict(facts))
    onnx.save(model, path)
    return path


@pytest.mark.filterwarnings("ignore::birefnet_runtime.SizeWarning")
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16], ids=["f32", "f16"])
@pytest.mark.parametrize("facts", [FACTS, {}], ids=["logits", "mask"])
def test_what_a_graph_answers_that_is_no_number_is_an_error(tmp_path, picture, kind, facts):
    file = root_of_brightness(tmp_path / "root.onnx", kind, facts)
    segmenter = Segmenter(file, size=64, threads=1)
    assert segmenter.metadata.output == ("logits" if facts else "mask")

    assert np.isfinite(segmenter(np.full_like(picture, 255))).all()
    with pytest.raises(ModelError, match="NaN or infinity"):
        segmenter(picture)


def test_no_file_is_written_of_what_is_no_number(tmp_path, picture):
    file = root_of_brightness(tmp_path / "root.onnx", TensorProto.FLOAT, FACTS)
    Image.fromarray(picture).save(tmp_path / "photo.png")
    arguments = ["cutout", tmp_path / "photo.png", "-o", tmp_path / "out.png", "-m", file]

    done = CliRunner().invoke(cli.main, [*map(str, arguments), "--provider", "cpu"])

    assert done.exit_code == 1
    assert "photo.png: " in done.stderr
    assert "NaN or infinity\n" in done.stderr
    assert not (tmp_path / "out.png").exists()


def test_nan_of_the_way_back_to_the_picture_is_an_error(model, picture, monkeypatch):
    """The network's answer was right."""

    def product(left, right, out):
        out[:] = left @ right
        out[-1, -1] = np.nan

    segmenter = Segmenter(model, providers="cpu")
    prepared = segmenter.prepare(picture[:, :64].repeat(2, 0))
    (logits,) = segmenter.run([prepared])
    monkeypatch.setattr("birefnet_runtime.model.graph_io.np.matmul", product)

    with pytest.raises(ModelError, match="the mask holds NaN"):
        segmenter.finish(prepared, logits)


def test_alpha_is_the_graphs(make_pixel_model, picture):
    segmenter = Segmenter(make_pixel_model())
    small = picture[:20, :30]

    alphas = segmenter.batch([picture, small, picture])

    assert [alpha.shape for alpha in alphas] == [(48, 80), (20, 30), (48, 80)]
    np.testing.assert_array_equal(alphas[2], picture[..., 0] / np.float32(255))
    assert alphas[0].dtype == np.float32
    assert segmenter.metadata.output == "alpha"
    assert segmenter.model_size((9, 9)) == (64, 64)


def test_it_looks_twice_at_small_subjects(make_pixel_model):
    image = np.zeros((100, 140, 3), np.uint8)
    image[20:40, 30:60] = 200
    segmenter = Segmenter(make_pixel_model(), refine=True)
    prepared = segmenter.prepare(image)

    (prediction,) = segmenter.run([prepared])

    assert isinstance(prediction, Refined)
    assert prediction.window == (5, 15, 55, 75)
    assert prediction.second.shape == (50, 60)
    np.testing.assert_allclose(
        segmenter.finish(prepared, prediction), image[..., 0] / 255, atol=1e-6
    )


def test_the_graph_sees_upright_opaque_pixels(make_pixel_model, tmp_path):
    image = Image.new("RGBA", (4, 2), (0, 0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)

    prepared = Segmenter(make_pixel_model()).prepare(tmp_path / "turned.png")

    assert prepared.tensor.shape == (1, 4, 2, 3)
    assert prepared.tensor.min() == 255  # over white


def test_other_processes_and_warm_up_know_it(make_pixel_model, picture):
    segmenter = pickle.loads(pickle.dumps(Segmenter(make_pixel_model())))
    segmenter.warm_up(batch=2)

    assert segmenter.cutout(picture).shape == (48, 80, 4)


def test_its_network_has_one_size_and_keeps_its_logits(make_pixel_model):
    model = make_pixel_model()

    with pytest.raises(SizeError, match="exported for 64x64 alone"):
        Segmenter(model, size=32)
    with pytest.raises(ModelError, match="its logits stay inside"):
        Segmenter(model).logits(np.zeros((1, 3, 64, 64), np.float32))


def test_a_limit_of_memory_does_not_change_its_size(make_pixel_model):
    file = ModelFile(make_pixel_model())
    assert choose(file, footprint_of(file, 400e6), None, 400e6).size is None


def test_facts_and_graph_must_agree(make_model):
    with pytest.raises(ModelError, match="pixels and gives alpha"):
        Segmenter(make_model(facts=PIXEL_FACTS))


def test_one_without_facts_runs_too(make_pixel_model, picture):
    assert Segmenter(make_pixel_model({}))(picture).shape == (48, 80)


def test_layouts_of_batches_are_checked(make_pixel_model):
    segmenter = Segmenter(make_pixel_model())

    with pytest.raises(ImageError, match=r"takes pixels, as uint8 \(batch, .* 3\)"):
        segmenter._form.run(segmenter._session, np.zeros((1, 3, 8, 8), np.uint8))


def test_tensorrt_is_refused(make_pixel_model):
    with pytest.raises(ProviderError, match=r"pixels; use the model\.onnx"):
        resolve(ModelFile(make_pixel_model()), TensorRT(), installed_build(), (), 1)


def test_bound_outputs_have_the_graphs_shape():
    assert output_shape((2, 40, 50, 3), "tensor(uint8)") == (2, 40, 50)
    assert output_shape((2, 3, 64, 96), "tensor(float16)") == (2, 1, 64, 96)
