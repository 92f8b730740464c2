import inspect
import multiprocessing
import os
import pickle
import subprocess
import sys
import types
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from birefnet_apps.cli.cutout import cutout
from birefnet_runtime import (
    ImageError,
    MemoryLimitError,
    ModelError,
    Segmenter,
    SizeError,
    SizeWarning,
    compose,
)
from birefnet_runtime import segmenter as module
from birefnet_runtime.model.metadata import ModelMetadata
from birefnet_runtime.segmenter import Opening
from birefnet_runtime.session.memory import SETTINGS
from PIL import Image


class FakeSession:
    """Answers with a function of the input; remembers the shapes it was given."""

    def __init__(self, answer=lambda tensor: tensor[:, :1], facts=()):
        self.answer = answer
        self.facts = dict(facts)
        self.shapes = []

    def get_inputs(self):
        return [types.SimpleNamespace(name="image", type="tensor(float)", shape=["b", 3, "h", "w"])]

    def get_outputs(self):
        return [types.SimpleNamespace(name="mask", type="tensor(float)", shape=["b", 1, "h", "w"])]

    def get_modelmeta(self):
        return types.SimpleNamespace(custom_metadata_map=self.facts)

    def run(self, output_names, input_feed):
        assert output_names == ["mask"]
        self.shapes.append(input_feed["image"].shape)
        return [self.answer(input_feed["image"])]


def test_alpha_has_the_images_size_type_and_range(model, picture):
    alpha = Segmenter(model)(picture)

    assert alpha.shape == picture.shape[:2]
    assert alpha.dtype == np.float32
    assert alpha.min() >= 0
    assert alpha.max() <= 1


def test_the_subject_is_found_where_it_is(model, picture):
    """The model calls bright pixels the subject; sigmoid(4 * (1 - .5) / .25) is .9997."""
    alpha = Segmenter(model)(picture)

    np.testing.assert_allclose(alpha[:, :18], 0.99966, atol=1e-4)
    np.testing.assert_allclose(alpha[:, 22:], 0.00034, atol=1e-4)


def test_every_kind_of_input_gives_the_same(model, picture, tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(picture).save(path)
    segmenter = Segmenter(model)
    expected = segmenter(picture)

    for source in (path, str(path), path.read_bytes(), Image.fromarray(picture)):
        np.testing.assert_array_equal(segmenter(source), expected)


def test_an_exif_turned_file_gives_a_turned_alpha(model, picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter clockwise: the left edge comes on top
    path = tmp_path / "turned.png"
    Image.fromarray(picture).save(path, exif=exif)

    alpha = Segmenter(model)(path)

    assert alpha.shape == (80, 48)
    assert alpha[:18].min() > 0.99
    assert alpha[22:].max() < 0.01


def test_an_export_directory_opens(make_model, picture):
    path = make_model("lite/onnx/model.onnx")

    Segmenter(path.parent.parent)(picture)
    Segmenter(str(path.parent.parent))(picture)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nothing.onnx", r"nothing\.onnx: no such file.*birefnet models"),
        ("litle", r"did you mean lite\?"),
        ("model.safetensors", "is a checkpoint; first: birefnet export"),
        ("BiRefNet.pth", "is a checkpoint"),
    ],
)
def test_a_model_that_is_not_there(name, says):
    with pytest.raises(ModelError, match=says):
        Segmenter(name)


def test_a_directory_that_is_no_export(tmp_path):
    with pytest.raises(ModelError, match=r"holds onnx/model\.onnx; this one doesn't"):
        Segmenter(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a protobuf", b"\x08\x07"])
def test_a_file_that_is_no_model(tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)

    with pytest.raises(ModelError, match=r"bad\.onnx") as caught:
        Segmenter(path)
    assert "\n" not in str(caught.value)


def test_a_model_of_another_kind(make_model):
    with pytest.raises(ModelError, match="no BiRefNet"):
        Segmenter(make_model(channels=4))


@pytest.mark.parametrize(
    ("size", "ran"),
    [
        (None, (64, 64)),
        (96, (96, 96)),
        ((32, 96), (32, 96)),
        ("auto", (32, 96)),
    ],
)
def test_the_network_runs_at_the_size_asked_for(size, ran):
    session = FakeSession(facts={"birefnet.trained_size": "64x64"})

    Segmenter.from_session(session, size=size)(np.zeros((20, 60, 3), np.uint8))

    assert session.shapes == [(1, 3, *ran)]


def test_a_session_without_facts_runs_at_upstreams_size():
    session = FakeSession()

    Segmenter.from_session(session)(np.zeros((20, 60, 3), np.uint8))

    assert session.shapes == [(1, 3, 1024, 1024)]


@pytest.mark.parametrize("size", [100, (64, 100), 0, -32])
def test_a_size_off_the_grid_is_refused_before_anything_runs(size):
    with pytest.raises(SizeError, match="multiples of 32"):
        Segmenter.from_session(FakeSession(), size=size)


def test_a_size_far_from_the_trained_one_warns_once(picture):
    segmenter = Segmenter.from_session(FakeSession(), size=256)

    with pytest.warns(SizeWarning, match="trained at 1024x1024; at 256x256") as caught:
        segmenter(picture)
    assert caught[0].filename == __file__

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        segmenter(picture)


def test_a_size_near_the_trained_one_does_not_warn(picture):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Segmenter.from_session(FakeSession(), size=(1024, 768))(picture)


@pytest.mark.parametrize("memory", ["fast", "balanced", "low"])
def test_memory_settings_reach_the_session(model, monkeypatch, memory):
    asked = []
    real = module.open_session

    def opened(path, **how):
        asked.append(how["cpu"])
        return real(path, **how)

    monkeypatch.setattr(module, "open_session", opened)

    Segmenter(model, memory=memory)

    assert asked == [SETTINGS[memory]]
    assert len({repr(cpu) for cpu in SETTINGS.values()}) == 3


def test_logits_runs_the_graph_alone(model):
    tensor = np.random.default_rng(4).normal(size=(2, 3, 32, 96)).astype(np.float32)

    logits = Segmenter(model).logits(tensor)

    assert logits.shape == (2, 1, 32, 96)
    np.testing.assert_allclose(logits[:, 0], tensor.sum(axis=1) * 4 / 3, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("tensor", "error"),
    [
        (np.zeros((1, 3, 32, 33), np.float32), SizeError),
        (np.zeros((1, 4, 32, 32), np.float32), ImageError),
        (np.zeros((3, 32, 32), np.float32), ImageError),
        (np.zeros((1, 3, 32, 32), np.float64), ImageError),
        (np.zeros((1, 3, 0, 32), np.float32), SizeError),
    ],
)
def test_logits_refuses_other_tensors(tensor, error):
    with pytest.raises(error):
        Segmenter.from_session(FakeSession()).logits(tensor)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_answer_that_is_no_number_is_an_error(value, picture):
    def answer(tensor):
        logits = tensor[:, :1].copy()
        logits[0, 0, 5, 5] = value
        return logits

    with pytest.raises(ModelError, match="NaN or infinity"):
        Segmenter.from_session(FakeSession(answer))(picture)


def test_an_answer_of_another_shape_is_an_error(picture):
    with pytest.raises(ModelError, match="the model answered"):
        Segmenter.from_session(FakeSession(lambda tensor: tensor[:, :1, ::2, ::2]))(picture)


def test_the_models_own_mean_and_std_are_used(make_model, picture):
    facts = {"birefnet.trained_size": "64x64", "birefnet.mean": "[1, 1, 1]"}
    alpha = Segmenter(make_model(facts=facts, weight=1))(picture)

    # White lies at the mean now, so its logit is 0.
    np.testing.assert_allclose(alpha[:, :16], 0.5, atol=1e-4)


def test_warming_up_runs_the_shape_that_will_come():
    session = FakeSession(facts={"birefnet.trained_size": "64x96"})
    segmenter = Segmenter.from_session(session)

    segmenter.warm_up()
    segmenter.warm_up((32, 64), batch=3)

    assert session.shapes == [(1, 3, 64, 96), (3, 3, 32, 64)]


def test_a_cutout_is_rgba_with_the_subjects_colors(model, picture):
    cut = Segmenter(model).cutout(picture)

    assert (cut.shape, cut.dtype) == ((48, 80, 4), np.uint8)
    assert cut[:, :18, 3].min() == 255
    np.testing.assert_array_equal(cut[:, :18, :3], picture[:, :18])
    plain = Segmenter(model).cutout(picture, foreground="none")
    np.testing.assert_array_equal(plain[..., :3], picture)


def test_a_sixteen_bit_image_is_cut_out_in_eight(model, picture):
    deep = picture.astype(np.uint16) * 257

    np.testing.assert_array_equal(Segmenter(model).cutout(deep), Segmenter(model).cutout(picture))
    assert Segmenter(model).compose(deep).pixels.dtype == np.uint16


def test_existing_alpha_is_multiplied_into_the_result(model, picture):
    rgba = np.dstack([picture, np.full((48, 80), 51, np.uint8)])
    rgba[24:, :, 3] = 255

    alpha = Segmenter(model)(rgba)

    np.testing.assert_allclose(alpha[:20, :18], 0.2, atol=0.01)
    np.testing.assert_allclose(alpha[28:, :18], 1, atol=0.01)


def test_a_batch_equals_one_by_one_and_runs_each_size_once():
    wide = np.random.default_rng(9).integers(0, 256, (20, 60, 3), dtype=np.uint8)
    session = FakeSession(facts={"birefnet.trained_size": "64x64"})
    segmenter = Segmenter.from_session(session, size="auto")
    images = [wide, wide.transpose(1, 0, 2), wide[::-1], wide[:, ::-1]]
    expected = [segmenter(image) for image in images]
    session.shapes.clear()

    found = segmenter.batch(images)

    assert sorted(shape[0] for shape in session.shapes) == [1, 3]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert segmenter.batch([]) == []


def test_the_three_steps_give_what_alpha_and_compose_give(model, picture, tmp_path):
    segmenter = Segmenter(model)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    expected = segmenter.alpha(picture)

    prepared = segmenter.prepare(tmp_path / "picture.png")
    (logits,) = segmenter.run([prepared])

    assert (prepared.tensor.shape, prepared.tensor.dtype) == ((1, 3, 64, 64), np.float32)
    np.testing.assert_array_equal(prepared.picture.pixels, picture)
    assert (logits.shape, logits.dtype) == ((64, 64), np.float32)
    alpha = segmenter.finish(prepared, logits)
    np.testing.assert_array_equal(alpha, expected)
    result = compose(prepared.picture, alpha)
    np.testing.assert_array_equal(result.pixels, segmenter.compose(picture).pixels)


def test_what_finish_gives_is_the_subjects_alpha_alone(model, picture):
    """`compose` multiplies the image's own alpha in, so that it counts once."""
    rgba = np.dstack([picture, np.full((48, 80), 51, np.uint8)])
    segmenter = Segmenter(model)
    whole = segmenter.prepare(picture)
    faint = segmenter.prepare(rgba)

    alpha = segmenter.finish(faint, segmenter.run([whole])[0])

    np.testing.assert_array_equal(alpha, segmenter.alpha(picture))
    assert compose(faint.picture, alpha).pixels[20, 5, 3] == 51


@pytest.mark.parametrize("batch", [1, 4])
def test_a_stream_gives_the_same_in_order_and_draws_as_it_goes(model, picture, batch):
    segmenter = Segmenter(model)
    images = [np.roll(picture, shift, axis=1) for shift in range(0, 60, 4)]
    drawn = 0

    def source():
        nonlocal drawn
        for image in images:
            drawn += 1
            yield image

    stream = segmenter.stream(source(), batch=batch)
    first = next(stream)

    assert drawn < len(images)
    np.testing.assert_array_equal(first, segmenter(images[0]))
    for image, alpha in zip(images[1:], stream, strict=True):
        np.testing.assert_allclose(alpha, segmenter(image), atol=1e-6)


def test_a_stream_ends_at_a_bad_image(model, picture):
    stream = Segmenter(model).stream([picture, b"no image", picture])

    next(stream)
    with pytest.raises(ImageError):
        list(stream)


def test_threads_share_a_segmenter(model, picture):
    segmenter = Segmenter(model)
    images = [np.roll(picture, shift, axis=1) for shift in range(0, 64, 4)]
    expected = [segmenter(image) for image in images]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(segmenter.alpha, images * 4))

    for index, alpha in enumerate(found):
        np.testing.assert_array_equal(alpha, expected[index % len(images)])


def test_a_closed_segmenter_says_so(model, picture):
    with Segmenter(model) as segmenter:
        segmenter(picture)

    with pytest.raises(ModelError, match="the model is closed"):
        segmenter(picture)
    segmenter.close()


MEMORY = """
import os, sys
import numpy as np
from birefnet_runtime import Segmenter

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

image = np.zeros((64, 64, 3), np.uint8)
with Segmenter("nano", threads=1) as segmenter:  # once, for what onnxruntime itself keeps
    segmenter(image)
before = resident()
with Segmenter("nano", threads=1, size=384) as segmenter:
    segmenter(image)
    during = resident()
print(during - before, resident() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc")
@pytest.mark.filterwarnings("ignore")
def test_closing_gives_the_memory_back_to_the_system():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEMORY],
        capture_output=True,
        text=True,
        check=True,
    )

    used, kept = map(int, done.stdout.split())
    assert used > 40_000_000
    assert kept < used / 4


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_worker_process_opens_the_model_anew(model, picture, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    segmenter = Segmenter(model, size=(64, 96), threads=1, memory="low")
    context = multiprocessing.get_context(method)

    with ProcessPoolExecutor(1, context) as pool:
        alpha = pool.submit(Segmenter.alpha, segmenter, picture).result()
    np.testing.assert_array_equal(alpha, segmenter(picture))


def test_a_copy_is_opened_as_the_first_was(model, tmp_path, monkeypatch):
    monkeypatch.chdir(model.parent)
    segmenter = Segmenter(model.name, size=(64, 96), providers="cpu", memory="low")
    monkeypatch.chdir(tmp_path)

    copy = pickle.loads(pickle.dumps(segmenter))

    assert copy.model_size((5, 5)) == (64, 96)
    assert copy.metadata == segmenter.metadata
    assert copy.session_info == segmenter.session_info


def test_a_session_that_was_handed_in_cannot_be_sent():
    with pytest.raises(ModelError, match="session was handed in"):
        pickle.dumps(Segmenter.from_session(FakeSession(facts={})))


FORK = """
import os, sys
import numpy as np
from birefnet_runtime import Segmenter

segmenter = Segmenter(sys.argv[1], threads=2)
image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
expected = segmenter.cutout(image)
child = os.fork()
if child == 0:
    same = sys.argv[2] == "close" or np.array_equal(segmenter.cutout(image), expected)
    segmenter.close()
    sys.exit(7 if same else 8)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), np.array_equal(segmenter.cutout(image), expected))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("what", ["cut out", "close"])
def test_a_forked_child_cuts_out_and_ends(model, what):
    """Freed there, the parent's session would wait for threads that the child doesn't have."""
    program = [sys.executable, "-c", FORK, model, what]

    done = subprocess.run(program, capture_output=True, text=True, timeout=120)

    assert done.stdout == "7 True\n", done.stderr


def test_how_a_model_is_opened_is_declared_once():
    named = inspect.signature(Segmenter).parameters
    settings = {name for name, one in named.items() if one.kind is one.KEYWORD_ONLY}

    assert settings - {"session"} == {*Opening.__annotations__}
    options = {option.name for option in cutout.params}
    read_off = {"picture_bytes"}  # the pictures themselves
    assert {"providers", *options} - {"provider"} >= {*Opening.__annotations__} - read_off


def test_a_session_in_the_old_spelling_warns_and_runs():
    with pytest.warns(DeprecationWarning, match="from_session") as caught:
        segmenter = Segmenter(session=FakeSession(), size=256)
    assert caught[0].filename == __file__
    assert segmenter.model_size((10, 10)) == (256, 256)


@pytest.mark.parametrize(
    "said",
    [
        {"model": "nothing.onnx"},
        {"threads": 99999},
        {"providers": "tpu"},
        {"max_memory": "1B"},
        {"memory": "low", "verbose": True},
        {"compiled": False},
    ],
)
def test_a_session_beside_what_opens_one_is_a_contradiction(said):
    with pytest.raises(TypeError, match=next(iter(said))):
        Segmenter(session=FakeSession(), **said)


def test_facts_of_a_session_that_has_none_can_be_given():
    facts = ModelMetadata(trained_size=(64, 96), mean=(0, 0, 0), std=(1, 1, 1))
    session = FakeSession()

    Segmenter.from_session(session, metadata=facts)(np.zeros((20, 60, 3), np.uint8))

    assert session.shapes == [(1, 3, 64, 96)]


def test_a_limit_of_memory_leaves_settings_that_were_asked_for():
    segmenter = Segmenter("nano", memory="low", max_memory="2GB", providers="cpu")

    assert segmenter.session_info.provider == SETTINGS["low"]
    with pytest.raises(MemoryLimitError, match=r"with memory fast.*memory low"):
        Segmenter("nano", memory="fast", max_memory="200MB", size=1024)


def test_reprs_are_short(picture):
    segmenter = Segmenter("nano")
    prepared = segmenter.prepare(picture)

    for each in (segmenter, prepared, prepared.picture, segmenter.compose(picture)):
        assert len(repr(each)) < 150
    assert "closed" not in repr(segmenter)
