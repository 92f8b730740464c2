"""Known answers: read, asked once, and what is remembered of them."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from birefnet_models import embedded_path, find
from birefnet_runtime import ModelError, Segmenter
from birefnet_runtime.errors import WrongAnswerError
from birefnet_runtime.model import known_answer
from birefnet_runtime.model.known_answer import (
    KEY,
    PICTURES,
    SIZE,
    Answer,
    KnownAnswer,
    Tolerance,
    draw,
    encoded,
    read_known_answer,
)
from birefnet_runtime.model.locate import ModelFile
from birefnet_runtime.session import compiled, judge
from birefnet_runtime.session.acceptance import ACCEPTED
from birefnet_runtime.session.judge import Asked
from birefnet_runtime.session.open import open_session
from birefnet_runtime.session.ort_session import OpenSession

from .test_disturbed import wrong_products

NANO = embedded_path(find("nano"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty one: no answer was right here before."""
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_form_that_answers_wrong_is_never_kept(cache, monkeypatch):
    on_form(monkeypatch, np.negative)
    expected = Segmenter("nano", providers="cpu", compiled=False).logits(ONES)

    for _ in range(2):
        assert np.array_equal(Segmenter("nano", providers="cpu").logits(ONES), expected)

    assert list(compiled.FORMS.entries()) == []
    (facts,) = (cache / "compiled").glob("*/facts.json")
    assert json.loads(facts.read_text())["refused"] == compiled.UNLIKE


ONES = np.ones((1, 3, 64, 64), np.float32)


def on_form(monkeypatch, fault):
    """What compiled forms answer is wrong."""
    real = compiled.CompiledStart._on_form

    class Wrong:
        def __init__(self, session):
            self._session = session

        def __getattr__(self, name):
            return getattr(self._session, name)

        def run(self, *arguments):
            return [fault(each) for each in self._session.run(*arguments)]

    monkeypatch.setattr(
        compiled.CompiledStart, "_on_form", lambda self, folder: Wrong(real(self, folder))
    )


def test_what_was_right_once_is_not_asked_again(monkeypatch):
    Segmenter("nano", providers="cpu")
    Segmenter("nano", providers="cpu", threads=1)
    asked = []
    real = Asked.answer
    monkeypatch.setattr(Asked, "answer", lambda *a: asked.append(1) or real(*a))

    Segmenter("nano", providers="cpu")
    assert asked == []
    (entry,) = ACCEPTED.entries()
    (entry.folder / "facts.json").write_text('{"key": {')
    Segmenter("nano", providers="cpu")
    assert asked == [1], "what is cut says nothing"
    for name in ("OPENBLAS_CORETYPE", "OPENCV_CPU_DISABLE"):
        monkeypatch.setenv(name, "other")
        Segmenter("nano", providers="cpu")
    assert asked == [1, 1, 1]


def test_products_that_are_wrong_are_noticed_by_the_known_answer_alone(monkeypatch):
    judge.check_machine()
    wrong_products(monkeypatch)
    monkeypatch.setattr("birefnet_runtime.session.acceptance.check_machine", lambda: None)

    with pytest.raises(WrongAnswerError, match="another version of NumPy"):
        Segmenter("nano", providers="cpu")


def with_answer(path: Path, target: Path, precision: str = "fp32") -> Path:
    """A copy of a model that carries what it answers itself."""
    model = ModelFile(path)
    asked = Asked.of(open_session(path), model)
    pictures, size = PICTURES, SIZE
    if asked.signature.takes_pixels:
        pictures, size = PICTURES[:1], asked.metadata.trained_size
    answer = asked.answer(size, pictures)
    allowed = Tolerance(0.01, 0.001)
    tolerance = {"alpha": allowed} | ({"logits": allowed} if answer.logits is not None else {})
    known = KnownAnswer(pictures, size, 3, answer.kept(3), tolerance)
    proto = onnx.load(path)
    proto.metadata_props.add(key=KEY, value=encoded(known))
    onnx.save(proto, target)
    return target


def test_a_file_of_pixels_is_asked_too(make_pixel_model, tmp_path, monkeypatch):
    file = with_answer(make_pixel_model(), tmp_path / "whole.onnx")
    Segmenter(file, providers="cpu")
    for entry in list(ACCEPTED.entries()):
        ACCEPTED.discard(entry.key)
    real = OpenSession._run
    monkeypatch.setattr(
        OpenSession, "_run", lambda *a: [np.minimum(each, 200) for each in real(*a)]
    )

    with pytest.raises(WrongAnswerError, match=r"mask of .*whole\.onnx is wrong"):
        Segmenter(file, providers="cpu")


def test_the_pictures_are_drawn_by_their_formula():
    """In plain integers, as another language would."""
    height, width = PICTURES[1]
    for y, x, c in ((0, 0, 0), (22, 15, 0), (22, 15, 2), (44, 30, 1), (7, 11, 2)):
        down, right = (2 * y - height + 1) * width, (2 * x - width + 1) * height
        inside = 2 * (down * down + right * right) < (height * width) ** 2
        texture = (7 * x + 13 * y + 29 * c + x * y * (c + 1)) % 41
        assert draw(height, width)[y, x, c] == (190 - 30 * c if inside else 40 + 15 * c) + texture
    assert draw(3, 5).shape == (3, 5, 3)


def test_an_answer_is_read_as_it_was_written():
    rng = np.random.default_rng(0)
    answer = Answer(
        tuple(rng.random(each) for each in PICTURES), 9 * rng.standard_normal((2, *SIZE))
    )
    tolerance = {"alpha": Tolerance(0.1, 0.01), "logits": Tolerance(1, 0.1)}
    written = KnownAnswer(PICTURES, SIZE, 3, answer.kept(3), tolerance)

    text = encoded(written)
    read = read_known_answer({KEY: text})

    assert (read.pictures, read.size, read.tolerance) == (PICTURES, SIZE, tolerance)
    off = read.off(answer)
    assert off["alpha"].largest < 1e-5
    assert off["logits"].largest < 1e-3
    assert len(text) < 8000
    assert read_known_answer({}) is None
    other = Answer(answer.alphas[:1], answer.logits)
    assert not read.off(other)["alpha"].within(Tolerance(1, 1))


@pytest.mark.parametrize(
    "harm",
    [
        lambda facts: facts.pop("alpha"),
        lambda facts: facts.update(alpha=facts["alpha"][:-4]),
        lambda facts: facts.update(alpha="?"),
        lambda facts: facts.update(pictures=[[0, 5]]),
        lambda facts: facts.update(pictures=[]),
        lambda facts: facts.update(size=[64]),
        lambda facts: facts.update(step=0),
        lambda facts: facts.update(tolerance={}),
        lambda facts: facts.update(logit_unit="x"),
    ],
)
def test_an_answer_that_is_damaged_is_an_error(harm):
    facts = json.loads(ModelFile(NANO).graph.properties[KEY])
    harm(facts)

    with pytest.raises(ModelError, match="damaged"):
        read_known_answer({KEY: json.dumps(facts)})
    with pytest.raises(ModelError, match="damaged"):
        read_known_answer({KEY: "[1"})


def test_the_embedded_models_answer_is_as_exact_as_float32():
    known = read_known_answer(ModelFile(NANO).graph.properties)
    answer = Asked.of(open_session(NANO), ModelFile(NANO)).answer(known.size, known.pictures)

    off = known.off(answer)

    assert off["alpha"].largest < 2e-4
    assert off["logits"].mean < known.tolerance["logits"].mean / 5
    assert known.step == known_answer.STEP
