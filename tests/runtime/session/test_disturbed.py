"""Answers disturbed in each way that a session runs: none becomes a mask without a word.

Where there is no hardware, ONNX Runtime's CPU answers under the provider's name.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from birefnet_models import embedded_path, find
from birefnet_runtime import ProviderWarning, Segmenter
from birefnet_runtime.errors import WrongAnswerError
from birefnet_runtime.model.known_answer import KEY, draw
from birefnet_runtime.session import open as sessions
from birefnet_runtime.session import ort_session, tensorrt
from birefnet_runtime.session.acceptance import ACCEPTED
from birefnet_runtime.session.availability import Build, InstalledVersions
from birefnet_runtime.session.providers import EXECUTION_PROVIDER
from birefnet_runtime.session.tensorrt import CudaDevice, engines

pytestmark = pytest.mark.filterwarnings("ignore::birefnet_runtime.errors.SizeWarning")

NANO = embedded_path(find("nano"))
PICTURE = draw(97, 131)
SIZE = (64, 96)
REAL = onnxruntime.InferenceSession
CPU = EXECUTION_PROVIDER["cpu"]


def scaled(x):
    return x * 1.05


def shifted_row(x):
    x = x.copy()
    x[:, :, 30] = np.roll(x[:, :, 30], 1, -1)
    return x


def half_a_map(x):
    x = x.copy()
    x[..., x.shape[-1] // 2 :] = x.min()
    return x


def noise(x):
    return x + 1e-2 * np.random.default_rng(0).standard_normal(x.shape).astype(x.dtype)


def one_nan(x):
    x = x.copy()
    x[0, 0, 5, 5] = np.nan
    return x


def other_batch(x):
    """Only the first picture of a batch is right."""
    x = x.copy()
    x[1:] = x[:1]
    return x


FAULTS = [scaled, shifted_row, half_a_map, noise, one_nan, other_batch]


def wrong_products(monkeypatch):
    real = np.matmul

    def matmul(a, b, out=None):
        result = real(a, b, out=out)
        result[-1, -1] += 0.5
        return result

    monkeypatch.setattr(np, "matmul", matmul)


def wrong_sizes(monkeypatch):
    real = cv2.resize
    monkeypatch.setattr(cv2, "resize", lambda *a, **k: np.roll(real(*a, **k), 1, 0))


class Machine:
    """One whose ONNX Runtime has every provider, each of which is the CPU in truth."""

    def __init__(self, cache: Path):
        self.cache = cache
        self.harm = lambda answer: answer
        """What becomes of answers."""
        self.wrong = lambda session: False
        """Of which sessions."""

    def session(self, path, sess_options, providers, enable_fallback):
        names, options = [name for name, _ in providers], providers[0][1]
        if folder := options.get("trt_engine_cache_path"):
            engine = Path(folder, "x.engine")
            engine.exists() or engine.write_text("engine 1")
        real = REAL(path, sess_options=sess_options, providers=[CPU])
        return Stand(self, real, names, Path(path))


class Stand:
    """A session that says it runs on a provider."""

    def __init__(self, machine, session, providers, path):
        self._machine, self._session = machine, session
        self._providers, self.provider, self.path = providers, providers[0], path

    def __getattr__(self, name):
        return getattr(self._session, name)

    def get_providers(self):
        return [*self._providers, CPU]

    def get_provider_options(self):
        return {self.provider: {}, CPU: {}}

    def run(self, names, feed, options=None):
        answers = self._session.run(names, feed, options)
        harmed = self._machine.wrong(self)
        return [self._machine.harm(each) for each in answers] if harmed else answers


@pytest.fixture
def machine(tmp_path, monkeypatch):
    machine = Machine(tmp_path / "cache")
    listed = tuple(EXECUTION_PROVIDER[name] for name in ("cuda", "tensorrt", "coreml", "cpu"))
    build = Build("1.32.0", "onnxruntime-gpu", "13.0", listed, Path(), ("onnxruntime-gpu",))
    versions = InstalledVersions("13.0", "9.8.0", "10.14.0")
    for target, name, value in (
        (sessions, "installed_build", lambda: build),
        (sessions, "why_unavailable", lambda *_: None),
        (tensorrt, "read_device", lambda _: CudaDevice("NVIDIA L4", "8.9")),
        (tensorrt, "installed_versions", lambda: versions),
        (ort_session, "read_placement", lambda _: None),
        (ort_session, "BoundRunner", bound),
        (onnxruntime, "get_available_providers", lambda: list(listed)),
        (onnxruntime, "InferenceSession", machine.session),
    ):
        monkeypatch.setattr(target, name, value)
    monkeypatch.setenv("BIREFNET_CACHE", str(machine.cache))
    return machine


def bound(session, *_, **__):
    name = session.get_inputs()[0].name
    return SimpleNamespace(run=lambda tensor, output: session.run([output], {name: tensor})[0])


@pytest.fixture(scope="module")
def without_answer(tmp_path_factory):
    """Nano as another tool would have written it."""
    proto = onnx.load(NANO)
    kept = [entry for entry in proto.metadata_props if entry.key != KEY]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    path = tmp_path_factory.mktemp("model") / "other.onnx"
    onnx.save(proto, path)
    return path


@pytest.fixture(scope="module")
def expected():
    session = REAL(str(NANO), providers=[CPU])
    return Segmenter.from_session(session, size=SIZE).alpha(PICTURE)


def of(name: str) -> Callable[[Stand], bool]:
    """Sessions on a provider."""
    return lambda session: session.provider == EXECUTION_PROVIDER[name]


def on_a_form(session: Stand) -> bool:
    return "compiled" in session.path.parts


def started_anew(machine: Machine) -> None:
    """The machine was, after all was right: what was accepted is asked again."""
    for entry in list(ACCEPTED.entries()):
        ACCEPTED.discard(entry.key)


def stale_engine(machine: Machine) -> None:
    """Another's, of the same name and size."""
    (file,) = engines().root.glob("*/x.engine")
    file.write_text("engine X")


@dataclass(frozen=True)
class Way:
    """A way in which a session runs."""

    providers: str
    wrong: Callable[[Stand], bool]
    compiled: bool = False
    known: bool = True
    """Whether the file carries a known answer."""
    later: Callable[[Machine], None] | None = None
    """What happened between a first opening, where all was right, and the fault."""
    taken: str | None = None
    """The provider whose right mask is to be had all the same; None: an error."""
    word: str = ""
    """Of the warning that says so; nothing where what was wrong is replaced by its like."""
    coarse: bool = False
    """The provider may compute in less than float32."""


WAYS = {
    "cpu": Way("cpu", of("cpu")),
    "form": Way("cpu", on_a_form, compiled=True, taken="cpu"),
    "form, later": Way("cpu", on_a_form, compiled=True, later=started_anew, taken="cpu"),
    "cpu and its form": Way("cpu", of("cpu"), compiled=True),
    "cuda": Way("cuda", of("cuda")),
    "cuda, other tool": Way("cuda", of("cuda"), known=False),
    "cuda:tf32": Way("cuda:tf32", of("cuda"), coarse=True),
    "cuda,cpu": Way("cuda,cpu", of("cuda"), taken="cpu", word="cuda's mask"),
    "auto": Way("auto", of("cuda"), taken="cpu", word="cuda's mask"),
    "coreml": Way("coreml", of("coreml"), coarse=True),
    "coreml:fixed": Way("coreml:fixed", of("coreml"), coarse=True),
    "coreml, other tool": Way("coreml", of("coreml"), known=False, coarse=True),
    "engine": Way("tensorrt", of("tensorrt"), coarse=True),
    "stale engine": Way("tensorrt", of("tensorrt"), later=stale_engine, coarse=True),
}
COARSE_MISSES = {noise: 0.006, other_batch: 1e-5}
"""What passes where less than float32 is allowed, and by how much alpha is off then at most: a
graph that is fixed runs one picture, which is the first of its batch."""


def opened(way: Way, without_answer: Path) -> Segmenter:
    model = "nano" if way.known else without_answer
    return Segmenter(model, providers=way.providers, compiled=way.compiled, size=SIZE)


def open_before(machine: Machine, way: Way, without_answer: Path) -> None:
    """What a later opening finds, where the way is one."""
    if way.later is not None:
        opened(way, without_answer)
        way.later(machine)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_no_wrong_answer_becomes_a_mask_without_a_word(
    machine, way, fault, without_answer, expected
):
    open_before(machine, way, without_answer)
    machine.harm, machine.wrong = fault, way.wrong

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ProviderWarning)
        segmenter, error = attempt(way, without_answer)

    if error is not None:
        assert way.taken is None
        off = "holds NaN" if fault is one_nan else "at most"
        for word in (way.providers.partition(":")[0], ".onnx", "onnxruntime 1.", off, "; try "):
            assert word in str(error)
        return
    off = float(np.abs(segmenter.alpha(PICTURE) - expected).max())
    if way.taken is None:
        assert way.coarse
        assert off <= COARSE_MISSES[fault]
        return
    assert segmenter.session_info.provider.name == way.taken
    assert off < 1e-5
    assert [way.word in str(each.message) for each in said] == ([True] if way.word else [])


def attempt(way, without_answer):
    """A model that opened, or why it didn't."""
    try:
        return opened(way, without_answer), None
    except WrongAnswerError as error:
        return None, error


@pytest.mark.parametrize("harm", [wrong_products, wrong_sizes], ids=["matmul", "resize"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_libraries_that_compute_wrong_are_an_error_in_each_way(
    machine, way, harm, without_answer, monkeypatch
):
    open_before(machine, way, without_answer)
    harm(monkeypatch)

    segmenter, error = attempt(way, without_answer)

    assert segmenter is None
    assert "try another version of" in str(error)
