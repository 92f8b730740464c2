"""Compiled forms: opened instead of the graph where they are the same, and never else."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import onnx
import onnxruntime
import pytest
from birefnet_apps.cli.main import main
from birefnet_models import CacheError, embedded_path, find
from birefnet_models.base import store as stores
from birefnet_models.base.hashes import stamp_of
from birefnet_models.base.store import Store, entry_name
from birefnet_runtime import Cpu, ModelError, Segmenter
from birefnet_runtime.machine import read_processor
from birefnet_runtime.model.locate import ModelFile
from birefnet_runtime.session import compiled
from birefnet_runtime.session.compiled import CompiledStart, compile_ahead, compiled_key
from birefnet_runtime.session.ort_errors import onnxruntime_errors
from birefnet_runtime.session.ort_options import plan_session
from birefnet_runtime.session.ort_session import OpenSession
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

NANO = embedded_path(find("nano"))
PLAN = plan_session(Cpu(prepack=False), 1)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache, whose folder of forms is returned."""
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "compiled"


@pytest.fixture
def opened(monkeypatch) -> list[Path]:
    """What ONNX Runtime is asked to open, in order."""
    paths: list[Path] = []

    def start(file, *rest, **how):
        paths.append(file.path)
        return real(file, *rest, **how)

    real = compiled.start
    monkeypatch.setattr(compiled, "start", start)
    return paths


@pytest.fixture
def graph(tmp_path) -> Path:
    """A model of 2 MB, most of them in a file beside it, that answers with their mean."""
    return write_graph(tmp_path / "graph" / "model.onnx", 0.5)


def write_graph(
    path: Path, value: float, side: int | str = "height", location: str = "weights.bin"
) -> Path:
    weights = np.full(500_000, value, np.float32)
    dims = ["batch", 3, side, side if isinstance(side, int) else "width"]
    answer = ["batch", 1, *dims[2:]]
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("ReduceMean", ["weights"], ["mean"], keepdims=0),
                helper.make_node("ReduceMean", ["image", "axes"], ["gray"]),
                helper.make_node("Add", ["gray", "mean"], ["logits"]),
            ],
            "mean",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, dims)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, answer)],
            [
                numpy_helper.from_array(weights, "weights"),
                numpy_helper.from_array(np.array([1], np.int64), "axes"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / location).unlink(missing_ok=True)
    onnx.save(model, path, save_as_external_data=True, location=location)
    return path


def answer(path: Path) -> float:
    session = CompiledStart(ModelFile(path), Cpu(), PLAN)()
    (logits,) = session.run(None, {"image": np.zeros((1, 3, 64, 64), np.float32)})
    return float(logits.mean())


def forms(cache: Path) -> list[Path]:
    """The folders of forms; and nothing else may lie beside them."""
    found = sorted(cache.iterdir()) if cache.is_dir() else []
    assert all((folder / "facts.json").is_file() for folder in found), found
    return found


def test_the_second_opening_takes_the_form_and_gives_the_same_answer(opened, cache):
    tensor = np.random.default_rng(1).standard_normal((2, 3, 96, 160)).astype(np.float32)
    expected = Segmenter("nano", providers="cpu", compiled=False).logits(tensor)
    assert opened == []
    assert forms(cache) == []

    first = Segmenter("nano", providers="cpu")
    (folder,) = forms(cache)
    assert opened[0] == NANO
    del opened[:]
    second = Segmenter("nano", providers="cpu")

    assert opened == [folder / "model.onnx"]
    assert second.metadata == first.metadata
    assert second.session_info
    assert second.session_info.placement
    for segmenter in (first, second):
        assert np.array_equal(segmenter.logits(tensor), expected)


def test_settings_of_runs_share_a_form_and_those_of_the_graph_do_not():
    def name(cpu: Cpu, threads: int = 1) -> str:
        return entry_name(compiled_key(ModelFile(NANO), plan_session(cpu, threads)))

    balanced = Cpu(prepack=False)
    assert name(balanced) == name(balanced, 7) == name(Cpu(prepack=False, arena="one-region"))
    assert name(Cpu()) != name(balanced)


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("graph", "0"),
        ("onnxruntime", "1.0"),
        ("processor", "Z80"),
        ("settings", {"order": 1}),
        ("format", 0),
    ],
)
def test_whatever_differs_of_the_key_is_another_form(field, other):
    key = compiled_key(ModelFile(NANO), plan_session(Cpu(), 1))

    assert entry_name(dataclasses.replace(key, **{field: other})) != entry_name(key)


@pytest.mark.parametrize("other", ["flags", "build"])
def test_a_form_is_kept_for_one_set_of_instructions_and_one_build(other, monkeypatch):
    """Of a processor's name and ONNX Runtime's version there are several of both."""
    key = compiled_key(ModelFile(NANO), PLAN)
    if other == "flags":
        fewer = dataclasses.replace(read_processor(), flags=("sse2",))
        monkeypatch.setattr(compiled, "read_processor", lambda: fewer)
    else:
        monkeypatch.setattr(onnxruntime, "get_build_info", lambda: "built elsewhere")

    assert entry_name(compiled_key(ModelFile(NANO), PLAN)) != entry_name(key)


def test_a_form_that_says_something_else_of_itself_is_not_the_same(graph):
    """Of a form without its metadata mean and size would be guessed."""
    session = onnxruntime.InferenceSession(graph)
    other = Mock(wraps=session)
    other.get_modelmeta.return_value = SimpleNamespace(custom_metadata_map={"a": "b"})

    assert compiled.same_answers(session, session, ModelFile(graph))
    assert not compiled.same_answers(session, other, ModelFile(graph))


def test_a_form_is_not_optimized_anew(graph, monkeypatch):
    """It would take the time that a form saves."""
    levels = []

    def start(file, provider, plan, **how):
        levels.append(plan.attributes.get("graph_optimization_level"))
        return real(file, provider, plan, **how)

    answer(graph)
    real = compiled.start
    monkeypatch.setattr(compiled, "start", start)

    answer(graph)

    assert levels == [onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL]


@pytest.mark.parametrize(("spare", "made"), [((1 << 30) - 1, 0), (1 << 30, 1)])
def test_a_form_leaves_a_gigabyte_free(graph, cache, monkeypatch, spare, made):
    """Beyond three times the model, of which a form took 1.6."""
    free = 3 * (graph.stat().st_size + (graph.parent / "weights.bin").stat().st_size) + spare
    usage = shutil.disk_usage("/")._replace(free=free)
    monkeypatch.setattr(compiled.shutil, "disk_usage", lambda _: usage)

    answer(graph)

    assert len(forms(cache)) == made


def test_new_weights_beside_the_same_graph_are_not_answered_with_the_old_ones(graph, cache):
    assert answer(graph) == answer(graph) == 0.5
    assert len(forms(cache)) == 1

    write_graph(graph, 0.25)

    assert answer(graph) == answer(graph) == 0.25
    assert len(forms(cache)) == 1


@pytest.mark.parametrize(
    ("file", "harm"),
    [
        ("model.onnx", "cut"),
        ("model.onnx_data", "flip"),
        ("model.onnx_data", "remove"),
        ("facts.json", "cut"),
    ],
)
def test_a_form_that_was_damaged_is_made_anew(opened, cache, file, harm):
    CompiledStart(ModelFile(NANO), Cpu(), PLAN)()
    (folder,) = forms(cache)
    content = (folder / file).read_bytes()
    if harm == "remove":
        (folder / file).unlink()
    else:
        half = len(content) // 2
        changed = content[:half] + (
            b"" if harm == "cut" else bytes(byte ^ 1 for byte in content[half:])
        )
        (folder / file).write_bytes(changed)
    del opened[:]

    CompiledStart(ModelFile(NANO), Cpu(), PLAN)()

    assert opened[0] == NANO, "not from the form"
    del opened[:]
    CompiledStart(ModelFile(NANO), Cpu(), PLAN)()
    assert opened == [folder / "model.onnx"]
    assert len(forms(cache)) == 1


def test_a_form_that_does_not_open_is_made_anew(opened, cache):
    CompiledStart(ModelFile(NANO), Cpu(), PLAN)()
    (folder,) = forms(cache)
    (folder / "model.onnx").write_bytes(b"no graph")
    facts = json.loads((folder / "facts.json").read_text())
    facts["files"]["model.onnx"] = stamp_of(folder / "model.onnx")
    (folder / "facts.json").write_text(json.dumps(facts))
    del opened[:]

    CompiledStart(ModelFile(NANO), Cpu(), PLAN)()

    assert opened[:2] == [folder / "model.onnx", NANO]
    assert (folder / "model.onnx").stat().st_size > 10_000


def test_a_form_with_another_answer_is_refused_for_good(opened, cache, graph, monkeypatch):
    monkeypatch.setattr(compiled, "same_answers", lambda *_: False)
    assert answer(graph) == 0.5
    (folder,) = forms(cache)
    assert [file.name for file in folder.iterdir()] == ["facts.json"]
    monkeypatch.undo()
    monkeypatch.setenv("BIREFNET_CACHE", str(cache.parent))
    del opened[:]

    assert answer(graph) == 0.5
    with pytest.raises(ModelError, match="doesn't answer exactly as"):
        compile_ahead(graph, Cpu(prepack=False))


@pytest.mark.parametrize("trouble", ["a file in its place", "no home", "a full disk"])
def test_without_a_cache_the_graph_opens_as_it_is(opened, cache, monkeypatch, trouble):
    if trouble == "a file in its place":
        cache.parent.write_text("")
    elif trouble == "no home":
        monkeypatch.setattr(stores, "cache_root", lambda: (_ for _ in ()).throw(CacheError("none")))
    else:
        usage = shutil.disk_usage("/")._replace(free=1 << 20)
        monkeypatch.setattr(compiled.shutil, "disk_usage", lambda _: usage)

    CompiledStart(ModelFile(NANO), Cpu(), PLAN)()

    assert opened == [NANO]
    assert not cache.is_dir() or forms(cache) == []
    with pytest.raises(ModelError, match="no compiled form"):
        compile_ahead(NANO, Cpu(prepack=False))


def test_no_form_is_made_where_that_takes_more_memory_than_is_allowed(cache, monkeypatch):
    monkeypatch.setattr(compiled, "MAKING", 50)
    Segmenter("nano", providers="cpu", max_memory=260e6)
    assert forms(cache) == []

    Segmenter("nano", providers="cpu", max_memory=1e9)
    assert len(forms(cache)) == 1
    Segmenter("nano", providers="cpu", max_memory=260e6)  # takes what is there


def test_small_graphs_and_those_of_one_size_are_left_alone(opened, cache, model, tmp_path):
    fixed = write_graph(tmp_path / "fixed" / "model.onnx", 0.5, side=64)

    for path in (model, fixed):
        CompiledStart(ModelFile(path), Cpu(), PLAN)()

    assert opened == [model, fixed]
    assert forms(cache) == []


def test_a_file_that_is_no_model_is_an_error_that_names_it(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"\0" * (2 << 20))

    with pytest.raises(ModelError, match=r"model\.onnx: "):
        CompiledStart(ModelFile(tmp_path / "model.onnx"), Cpu(), PLAN)()


@pytest.fixture
def run_fails(monkeypatch):
    """Whatever was opened from a form fails to run."""
    real = compiled.CompiledStart._on_form

    class Failing:
        def __init__(self, session):
            self._session = session

        def __getattr__(self, name):
            return getattr(self._session, name)

        def run(self, *_):
            raise RuntimeError("nchwc_ops.cc:186 blocked layout\nmore")

    def on_form(self, folder):
        session = real(self, folder)
        return session if ".birefnet-" in str(folder) else Failing(session)

    monkeypatch.setattr(compiled.CompiledStart, "_on_form", on_form)


@pytest.mark.parametrize("thread", [False, True])
def test_a_form_that_fails_to_run_is_forgotten_and_the_graph_runs(cache, run_fails, opened, thread):
    tensor = np.random.default_rng(1).standard_normal((1, 3, 64, 96)).astype(np.float32)
    made = Segmenter("nano", providers="cpu")  # runs on the session that made it
    expected = made.logits(tensor)
    failing = Segmenter("nano", providers="cpu")
    (folder,) = forms(cache)
    assert opened[-1] == folder / "model.onnx"

    with ThreadPoolExecutor(4) as pool:
        found = pool.map(failing.logits, [tensor] * 4) if thread else [failing.logits(tensor)]
        assert all(np.array_equal(each, expected) for each in found)

    (folder,) = forms(cache)
    assert [file.name for file in folder.iterdir()] == ["facts.json"]
    assert "it failed: nchwc" in json.loads((folder / "facts.json").read_text())["refused"]
    del opened[:]
    assert np.array_equal(Segmenter("nano", providers="cpu").logits(tensor), expected)
    assert opened == [NANO]


def test_where_the_graph_fails_as_well_the_form_stays(cache, opened, graph):
    session = OpenSession(first := CompiledStart(ModelFile(graph), Cpu(), PLAN), Cpu(), PLAN)
    session = OpenSession(
        start := CompiledStart(ModelFile(graph), Cpu(), PLAN), Cpu(), PLAN, (), start
    )
    assert (first.is_used(), start.is_used()) == (False, True)

    with pytest.raises(onnxruntime_errors()):
        session.run(None, {"image": np.zeros((1, 3, 64), np.float32)})

    assert start.find().refused is None
    (logits,) = session.run(None, {"image": np.zeros((1, 3, 64, 64), np.float32)})
    assert float(logits.mean()) == 0.5


HASWELL = ("qemu-x86_64", "-cpu", "Haswell")
"""It reads this machine's /proc/cpuinfo, so its forms have the names of this machine's own."""


@pytest.mark.slow  # it takes some 90 s: the emulator imports, optimizes and compares
@pytest.mark.skipif(
    shutil.which(HASWELL[0]) is None or "AVX-512" not in read_processor().features,
    reason="needs qemu-x86_64, and AVX-512, whose blocks are larger than Haswell's",
)
def test_a_form_of_another_processor_is_discarded_and_the_graph_runs(cache, opened, tmp_path):
    """Where pictures run, and before that, where the known answer is asked for."""
    program = "import sys; from birefnet_runtime.session import compiled as c, memory as m; "
    program += "c.compile_ahead(sys.argv[1], m.SETTINGS[m.DEFAULT])"
    there = os.environ | {"OMP_NUM_THREADS": "1", "BIREFNET_CACHE": str(tmp_path / "there")}
    subprocess.run([*HASWELL, sys.executable, "-c", program, NANO], env=there, check=True)
    tensor = np.random.default_rng(1).standard_normal((1, 3, 96, 160)).astype(np.float32)
    expected = Segmenter("nano", providers="cpu", compiled=False).logits(tensor)

    for is_accepted in (True, False):
        shutil.rmtree(cache, ignore_errors=True)
        shutil.copytree(tmp_path / "there" / "compiled", cache)
        (facts,) = cache.glob("*/facts.json")
        content = json.loads(facts.read_text())
        content["files"] = {name: stamp_of(facts.with_name(name)) for name in content["files"]}
        facts.write_text(json.dumps(content))
        if not is_accepted:
            shutil.rmtree(cache.parent / "accepted")
        del opened[:]

        segmenter = Segmenter("nano", providers="cpu")
        asked = list(opened)
        assert np.array_equal(segmenter.logits(tensor), expected)

        (folder,) = forms(cache)
        assert asked == [folder / "model.onnx", *([] if is_accepted else [NANO])]
        assert opened == [folder / "model.onnx", NANO]
        assert "blocked layout" in json.loads((folder / "facts.json").read_text())["refused"]


@pytest.mark.slow
def test_several_processes_at_once_make_one_form(cache):
    program = (
        "from birefnet_runtime import Segmenter; import numpy as np\n"
        "tensor = np.ones((1, 3, 64, 64), np.float32)\n"
        "print(Segmenter('nano', providers='cpu', threads=1).logits(tensor).sum())"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]

    answers = {process.communicate(timeout=120)[0] for process in processes}

    assert len(answers) == 1
    assert answers != {""}
    assert len(forms(cache)) == 1


def test_what_was_not_used_for_longest_makes_room(cache, tmp_path, monkeypatch):
    graphs = [
        write_graph(tmp_path / str(n) / "model.onnx", float(n), location="model.onnx_data")
        for n in range(3)
    ]
    for graph in graphs[:2]:
        answer(graph)
    both = forms(cache)
    long_ago, recent = (json.loads((f / "facts.json").read_text())["facts"]["model"] for f in both)
    os.utime(both[0] / "facts.json", (1, 1))
    used = sum(file.stat().st_size for folder in both for file in folder.iterdir())
    monkeypatch.setattr(compiled, "FORMS", Store("compiled", limit_bytes=used + 100))

    answer(graphs[2])

    kept = {json.loads((f / "facts.json").read_text())["facts"]["model"] for f in forms(cache)}
    assert kept == {recent, str(graphs[2])}
    assert long_ago not in kept


@pytest.mark.parametrize(
    ("before", "behind", "environment"),
    [
        ((), ("--no-compiled",), {}),
        (("--no-compiled",), (), {}),
        ((), (), {"BIREFNET_COMPILED": "off"}),
    ],
)
def test_an_option_says_no_at_its_place_or_at_its_old_one(
    cache, tmp_path, before, behind, environment
):
    photo, output = "examples/photos/china.jpg", str(tmp_path / "out.png")
    command = [*before, "cutout", photo, "-o", output, "--provider", "cpu", *behind]

    result = CliRunner(env=environment).invoke(main, command)

    assert result.exit_code == 0, result.output
    assert forms(cache) == []

    result = CliRunner().invoke(main, ["warm", "nano", "--provider", "cpu"])
    assert "birefnet: nano is ready on the CPU (" in result.stdout
    assert len(forms(cache)) == 1
