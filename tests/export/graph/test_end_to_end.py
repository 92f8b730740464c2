"""The steps around the network, in the graph, held against the runtime's own on any size."""

import numpy as np
import onnx
import onnxruntime
import pytest
from birefnet_export.errors import GraphError
from birefnet_export.graph import end_to_end
from birefnet_export.graph.builder import Graph
from birefnet_export.graph.signature import INPUT, MEAN, OUTPUT, STD
from birefnet_runtime.images.picture import Picture, quantize
from birefnet_runtime.model.graph_io import to_alpha, to_tensor

SIZE = (64, 96)
IMAGE_SIZES = [
    (1, 1),
    (1, 200),  # a single line
    (301, 1),
    (7, 3),  # fewer pixels than parts
    SIZE,
    (160, 120),  # sums of weights and pixels that are a half: rounded as Pillow does
    (120, 160),
    (50, 1000),
    (1000, 50),
    (427, 640),
]


def opened(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


@pytest.fixture(scope="module", params=[17, 23])
def ends(request):
    """What stands before and behind the network, in the oldest and the newest opset."""
    opset = request.param
    return [opened(part(opset, SIZE)) for part in (end_to_end._before, end_to_end._behind)]


@pytest.mark.parametrize("size", IMAGE_SIZES)
def test_the_networks_input_is_the_runtimes(ends, size):
    images = np.random.default_rng(5).integers(0, 256, (2, *size, 3), dtype=np.uint8)

    tensor, image_size = ends[0].run(None, {"image": images})

    expected = np.concatenate([to_tensor(Picture(each), SIZE, MEAN, STD) for each in images])
    assert tuple(image_size) == size
    np.testing.assert_array_equal(tensor, expected)


@pytest.mark.parametrize("size", IMAGE_SIZES)
def test_the_way_back_is_the_runtimes(ends, size):
    logits = 4 * np.random.default_rng(6).standard_normal((2, 1, *SIZE)).astype(np.float32)

    (alphas,) = ends[1].run(None, {OUTPUT.name: logits, "image_size": np.array(size)})

    expected = np.stack([quantize(to_alpha(each[0], size), 8) for each in logits])
    difference = np.abs(alphas.astype(int) - expected)
    assert alphas.dtype == np.uint8
    assert difference.max() <= 1
    assert difference.mean() < 1e-3  # halves that round the other way


def brightness() -> onnx.ModelProto:
    """A network whose logit is eight times the mean of a pixel's normalized channels."""
    g = Graph(20)
    mean = g.op("ReduceMean", g.input(INPUT.name, INPUT.axes), [1], keepdims=1)
    g.output(OUTPUT.name, OUTPUT.axes, mean * 8.0)
    return g.model()


def test_any_graph_of_the_signature_is_enclosed():
    model = brightness()
    end_to_end.enclose(model, SIZE)
    session = opened(model)
    images = np.zeros((3, 40, 90, 3), np.uint8)
    images[1, :, :45] = 255

    (alphas,) = session.run(None, {"image": images})

    assert [(i.name, i.shape) for i in session.get_inputs()] == [
        ("image", ["batch", "height", "width", 3])
    ]
    assert [(o.name, o.shape) for o in session.get_outputs()] == [
        ("alpha", ["batch", "height", "width"])
    ]
    assert alphas[0].max() == 0
    assert alphas[1, :, :42].min() == 255
    assert alphas[1, :, 48:].max() == 0


def test_an_enclosed_graph_is_not_enclosed_again():
    model = brightness()
    end_to_end.enclose(model, SIZE)

    with pytest.raises(GraphError):
        end_to_end.enclose(model, SIZE)
