"""TensorRT's engines without TensorRT: what a key holds, when one is found, built or refused."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from birefnet_models.base.hashes import graph_sha256
from birefnet_models.base.store import entry_name
from birefnet_runtime import ProviderError, SizeError, TensorRT
from birefnet_runtime.errors import WrongAnswerError
from birefnet_runtime.model.locate import ModelFile
from birefnet_runtime.session import open as sessions
from birefnet_runtime.session import ort_session as inference_session
from birefnet_runtime.session import tensorrt
from birefnet_runtime.session.availability import Build, InstalledVersions
from birefnet_runtime.session.open import open_session
from birefnet_runtime.session.providers import Profile
from birefnet_runtime.session.tensorrt import (
    CudaDevice,
    EngineKey,
    build_engine,
    engines,
    find_engine,
    resolve,
)

ONE = Profile(smallest=(1, 64, 64), best=(1, 64, 64), largest=(1, 64, 64))
WIDE = Profile(smallest=(1, 32, 32), best=(1, 64, 64), largest=(2, 128, 128))
KEY = EngineKey(
    graph="abc",
    gpu="NVIDIA L4",
    compute_capability="8.9",
    tensorrt="10.13.3",
    onnxruntime="1.31.1",
    cuda="13.0",
    fp16=False,
    optimization_level=3,
    workspace_bytes=None,
    profile=ONE,
)
OTHERS = {
    "graph": "def",
    "gpu": "NVIDIA H100",
    "compute_capability": "9.0",
    "tensorrt": "10.14.0",
    "onnxruntime": "1.32.0",
    "cuda": "13.1",
    "fp16": True,
    "optimization_level": 5,
    "workspace_bytes": 1 << 30,
    "profile": WIDE,
    "format": 1,
}


class Fake:
    """A session whose logits are `answer`; opening it on TensorRT leaves an engine behind."""

    def __init__(self, answer=2.0):
        self.answer = answer
        self.opened = []

    def on_tensorrt(self, record, directory, input_name, rebuilt):
        assert rebuilt is None
        self.info, self.plan = SimpleNamespace(provider=record), SimpleNamespace(dimensions={})
        self.opened.append((record, directory, input_name))
        (directory / "birefnet_1_sm89.engine").write_bytes(b"engine")
        return self

    def on_cpu(self):
        return Fake(2.0)

    def get_inputs(self):
        return [SimpleNamespace(name="image", type="tensor(float)", shape=["b", 3, "h", "w"])]

    def get_outputs(self):
        return [SimpleNamespace(name="mask", type="tensor(float)", shape=["b", 1, "h", "w"])]

    def get_modelmeta(self):
        return SimpleNamespace(custom_metadata_map={"birefnet.format": "1"})

    def run(self, names, feed):
        batch, _, height, width = feed["image"].shape
        return [np.full((batch, 1, height, width), self.answer, np.float32)]


def build(root, fake, key=KEY, **record):
    asked = TensorRT(**{"cache": root, "fp16": key.fp16, **record})
    model = ModelFile(root / "m.onnx")
    return build_engine(model, asked, key, "image", fake.on_tensorrt, fake.on_cpu)


def find(root, key):
    return find_engine(engines(root), key)


def test_an_engine_is_built_once_and_found_after_that(tmp_path, caplog):
    caplog.set_level("INFO", "birefnet")
    fake = Fake()

    first, second = build(tmp_path, fake), build(tmp_path, fake)

    ((record, where, name),) = fake.opened
    assert record.profile == ONE
    assert where.name.startswith(".birefnet-"), "never where a half-built one could be found"
    assert name == "image"
    assert first.folder == second.folder == tmp_path / entry_name(KEY)
    assert sorted(path.name for path in first.folder.iterdir()) == [
        "birefnet_1_sm89.engine",
        "facts.json",
    ]
    assert sorted(tmp_path.iterdir()) == [first.folder]
    facts = json.loads((first.folder / "facts.json").read_text())
    assert facts["facts"]["parity"] == {"alpha": [0, 0], "logits": [0, 0]}
    lines = caplog.messages
    assert lines[0] == (
        "building a TensorRT engine of m.onnx for NVIDIA L4 in fp32, 1 at 64x64; "
        "this takes minutes, once"
    )
    assert ": took " in lines[-1]


@pytest.mark.parametrize("field", OTHERS)
def test_a_cache_of_anything_else_is_never_loaded(tmp_path, field):
    build(tmp_path, Fake())
    other = dataclasses.replace(KEY, **{field: OTHERS[field]})

    assert entry_name(other) != entry_name(KEY)
    assert find(tmp_path, other) is None


def test_every_fact_of_the_key_is_tried_above():
    assert set(OTHERS) == {field.name for field in dataclasses.fields(EngineKey)}


def test_an_engine_for_more_shapes_serves_fewer(tmp_path):
    build(tmp_path, Fake(), dataclasses.replace(KEY, profile=WIDE))

    folder, profile = find(tmp_path, KEY)

    assert profile == WIDE
    assert folder.parent == tmp_path


@pytest.mark.parametrize(
    "damage", ["renamed", "no engine", "cut", "no facts", "nonsense", "other facts"]
)
def test_a_directory_that_is_not_what_it_says_is_not_used(tmp_path, damage):
    directory = build(tmp_path, Fake()).folder
    facts = directory / "facts.json"
    if damage == "renamed":
        shutil.move(directory, tmp_path / ("0" * 32))
    elif damage == "no engine":
        (directory / "birefnet_1_sm89.engine").unlink()
    elif damage == "cut":
        (directory / "birefnet_1_sm89.engine").write_bytes(b"eng")
    elif damage == "no facts":
        facts.unlink()
    elif damage == "nonsense":
        facts.write_text("[1, 2")
    else:
        facts.write_text(facts.read_text().replace("NVIDIA L4", "NVIDIA L40"))
    assert find(tmp_path, KEY) is None
    fake = Fake()
    assert build(tmp_path, fake).folder == directory
    assert len(fake.opened) == 1
    assert find(tmp_path, KEY)


@pytest.mark.parametrize("answer", [-2.0, 2.8, float("nan")])
def test_an_engine_that_answers_something_else_is_refused_and_gone(tmp_path, answer):
    with pytest.raises(ProviderError, match=r"tensorrt's .*m\.onnx is wrong"):
        build(tmp_path, Fake(answer))

    assert list(tmp_path.iterdir()) == []


def test_half_precision_may_differ_more(tmp_path):
    half = dataclasses.replace(KEY, fp16=True)

    build(tmp_path, Fake(2.03), half)

    with pytest.raises(ProviderError, match="lower precision"):
        build(tmp_path, Fake(2.3), dataclasses.replace(half, graph="other"))


class Spot(Fake):
    """Its mask is the reference's, .881, but for one pixel that is .12 lower."""

    def run(self, names, feed):
        (logits,) = super().run(names, feed)
        logits[0, 0, 0, 0] = 1.157
        return [logits]


@pytest.mark.parametrize("engine", [Spot(), Fake(2.03)], ids=["one pixel", "all by .003"])
def test_fp32_may_differ_less_than_fp16(tmp_path, engine):
    with pytest.raises(ProviderError, match="allowed"):
        build(tmp_path, engine)

    build(tmp_path, engine, dataclasses.replace(KEY, fp16=True))


def test_a_build_that_throws_leaves_nothing(tmp_path):
    fake = Fake()

    def run(names, feed):
        raise RuntimeError("TensorRT EP could not build engine\nmore")

    fake.run = run

    with pytest.raises(ProviderError, match=r"m\.onnx: .*could not build"):
        build(tmp_path, fake)
    assert list(tmp_path.iterdir()) == []


def test_no_engine_at_all_is_an_error(tmp_path):
    fake = Fake()
    real = fake.on_tensorrt

    def without_engine(record, directory, *rest):
        session = real(record, directory, *rest)
        (directory / "birefnet_1_sm89.engine").unlink()
        return session

    fake.on_tensorrt = without_engine

    with pytest.raises(ProviderError, match="no part of"):
        build(tmp_path, fake)


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(ProviderError, match="engines can't be kept"):
        build(tmp_path, Fake(), cache=tmp_path / "file")


def test_the_graphs_hash_holds_the_weights_beside_it(tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(b"graph")
    alone = graph_sha256(model)
    (tmp_path / "other.onnx").write_bytes(b"other")
    assert graph_sha256(model) == alone
    (tmp_path / "model.onnx_data").write_bytes(b"weights")
    beside = graph_sha256(model)
    (tmp_path / "model.onnx_data").write_bytes(b"Weights")

    assert len({alone, beside, graph_sha256(model)}) == 3


@pytest.fixture
def l4(monkeypatch):
    """A machine with a GPU, as far as is asked."""
    monkeypatch.setattr(tensorrt, "read_device", lambda _: CudaDevice("NVIDIA L4", "8.9"))
    monkeypatch.setattr(
        tensorrt, "installed_versions", lambda: InstalledVersions("13.0", "9.8.0", "10.13.3")
    )
    folder = engines().root
    return Build("1.31.1", "onnxruntime-gpu", "13.0", (), folder, ())


def test_the_key_is_read_off_the_machine_and_the_model(model, l4):
    key, name = resolve(ModelFile(model), TensorRT(), l4, sizes=[64], batch=1)

    assert name == "input_image"
    assert key == dataclasses.replace(KEY, graph=graph_sha256(model))
    other, _ = resolve(ModelFile(model), TensorRT(profile=WIDE), l4, sizes=[96], batch=8)
    assert other.profile == WIDE


def test_weights_in_a_file_of_any_name_are_of_the_key(model, l4, tmp_path):
    beside = tmp_path / "weights.bin"
    proto = onnx.load(model)
    onnx.save(
        proto,
        tmp_path / "model.onnx",
        save_as_external_data=True,
        location=beside.name,
        size_threshold=0,
    )

    def key():
        return resolve(ModelFile(tmp_path / "model.onnx"), TensorRT(), l4, sizes=[64], batch=1)[0]

    before = key()
    beside.write_bytes(beside.read_bytes()[::-1])

    assert key() != before


def test_no_device(model, l4, monkeypatch):
    monkeypatch.setattr(tensorrt, "read_device", lambda _: None)

    with pytest.raises(ProviderError, match="no CUDA device 3"):
        resolve(ModelFile(model), TensorRT(device_id=3), l4, sizes=[], batch=1)


class Gpu:
    """A machine whose TensorRT is the CPU in truth."""

    def __init__(self):
        self.plans = []
        """Of each session that was opened."""
        self.built = 0
        self.harm = lambda logits, engine: logits
        """What becomes of an answer, by the engine's content."""

    def start(self, file, provider, plan, verbose):
        self.plans.append(plan)
        session = onnxruntime.InferenceSession(str(file.path), providers=["CPUExecutionProvider"])
        if folder := dict(plan.providers[0][1]).get("trt_engine_cache_path"):
            engine = Path(folder, "x.engine")
            if not engine.exists():
                self.built += 1
                engine.write_text(f"engine {self.built}")
            self.engine = engine.read_text()
        return session

    def bound(self, session, *_, **__):
        engine = self.engine

        def run(tensor, name):
            return self.harm(session.run([name], {"input_image": tensor})[0], engine)

        return SimpleNamespace(run=run)


@pytest.fixture
def gpu(monkeypatch, l4, tmp_path):
    gpu = Gpu()
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sessions, "installed_build", lambda: l4)
    monkeypatch.setattr(sessions, "why_unavailable", lambda *_: None)
    monkeypatch.setattr(sessions, "start", gpu.start)
    monkeypatch.setattr(inference_session, "read_placement", lambda _: None)
    monkeypatch.setattr(inference_session, "BoundRunner", gpu.bound)
    return gpu


TENSOR = np.ones((1, 3, 64, 64), np.float32)


def opened(model, **record):
    return open_session(model, providers=TensorRT(**record), sizes=[64])


def answers_right(session):
    (logits,) = session.run(None, {"input_image": TENSOR})
    return bool(np.allclose(logits, 4.0, rtol=1e-5))


def test_the_whole_way_of_a_session(model, gpu, tmp_path):
    session = opened(model, cache=tmp_path / "engines")

    assert session.info.provider.profile == ONE
    built, reference, ready = gpu.plans
    assert "trt_profile_min_shapes" in built.providers[0][1]
    assert reference.providers == (("CPUExecutionProvider", {}),)
    (kept,) = (tmp_path / "engines").iterdir()
    assert ready.providers[0][1]["trt_engine_cache_path"] == str(kept)
    assert answers_right(session)
    with pytest.raises(SizeError, match=r"outside what .*TensorRT engine"):
        session.run(None, {"input_image": np.ones((1, 3, 96, 64), np.float32)})

    opened(model, cache=tmp_path / "engines")
    assert len(gpu.plans) == 4, "found, not built, and right before"


def fails(logits):
    raise RuntimeError("[TensorRT EP] failed to enqueue\nmore")


@pytest.mark.parametrize("is_kept", [True, False])
def test_an_engine_that_fails_at_a_later_run_is_built_anew_once(model, gpu, is_kept):
    session = opened(model)
    session = opened(model) if is_kept else session
    gpu.harm = lambda logits, engine: fails(logits) if engine == "engine 1" else logits

    if is_kept:
        assert answers_right(session)
        assert answers_right(opened(model)), "the new one was kept"
    else:
        with pytest.raises(RuntimeError, match="failed to enqueue"):
            session.run(None, {"input_image": TENSOR})
    assert gpu.built == (2 if is_kept else 1)


def test_where_the_new_engine_fails_as_well_the_error_is_raised(model, gpu):
    opened(model)
    session = opened(model)
    gpu.harm = lambda logits, engine: fails(logits)

    for _ in range(2):
        with pytest.raises(RuntimeError, match="failed to enqueue"):
            session.run(None, {"input_image": TENSOR})
    assert gpu.built == 2
    assert find_engine(engines(), resolve_key(model, gpu)), "that may pass: the old one stays"

    gpu.harm = lambda logits, engine: logits
    assert answers_right(session)


def resolve_key(model, gpu):
    return resolve(ModelFile(model), TensorRT(), sessions.installed_build(), [64], 1)[0]


@pytest.mark.parametrize("again", ["right", "wrong"])
def test_a_stale_engine_is_built_anew(model, gpu, again):
    """One of the right name and size whose content is another's."""
    opened(model)
    (file,) = engines().root.glob("*/x.engine")
    file.write_text("engine X")
    gpu.harm = lambda logits, engine: (
        logits if (engine, again) == ("engine 2", "right") else -logits
    )

    if again == "right":
        assert answers_right(opened(model))
        assert file.read_text() == "engine 2"
    else:
        with pytest.raises(WrongAnswerError, match="tensorrt's mask of"):
            opened(model)
        assert list(engines().entries()) == []
    assert gpu.built == 2
