"""What Triton's own definition reads in a repository, held against the models in it."""

import importlib.util
import json
import shutil
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.request import Request, urlopen

import numpy as np
import onnx
import onnxruntime
import pytest
from birefnet_apps.cli.main import main
from birefnet_apps.triton import CONFIG_MARK, Serving, check_server, write_repository
from birefnet_models import embedded_path, find
from birefnet_models.base.hashes import checksums_of, record_checksums
from birefnet_runtime import ModelError, OutputError, SizeError
from birefnet_runtime.errors import WrongAnswerError
from birefnet_runtime.model.known_answer import KEY, Answer, read_known_answer
from click.testing import CliRunner
from google.protobuf import text_format
from onnx import TensorProto, helper

from ..conftest import FACTS, write_model

NANO = embedded_path(find("nano"))


def model_config(folder: Path):
    """`config.pbtxt` as Triton reads it; loaded by its path, for the package wants grpc."""
    package = importlib.util.find_spec("tritonclient")
    file = Path(package.submodule_search_locations[0], "grpc", "model_config_pb2.py")
    spec = importlib.util.spec_from_file_location("model_config_pb2", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return text_format.Parse((folder / "config.pbtxt").read_text(), module.ModelConfig()), module


def pixel_model(path: Path) -> Path:
    """Alpha is the red channel."""
    axes = ["batch", "height", "width"]
    graph = helper.make_graph(
        [helper.make_node("Gather", ["image", "red"], ["alpha"], axis=3)],
        "red",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [*axes, 3])],
        [helper.make_tensor_value_info("alpha", TensorProto.UINT8, axes)],
        [helper.make_tensor("red", TensorProto.INT64, [], [0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, FACTS | {"birefnet.output": "alpha"})
    onnx.save(model, path)
    return path


@pytest.fixture
def exported(tmp_path):
    """An export directory with a file of tensors, weights beside it, and one of pixels."""
    file = write_model(tmp_path / "shoes-onnx" / "onnx" / "model.onnx")
    Path(f"{file}_data").write_bytes(b"weights")
    pixel_model(file.with_name("model_end_to_end.onnx"))
    return file


def typed(module, name: str) -> int:
    return module.DataType.Value(name)


def test_names_types_and_dims_are_the_models(exported, tmp_path):
    folders = write_repository(exported, tmp_path / "models", Serving())

    assert [folder.name for folder in folders] == ["shoes-onnx", "shoes-onnx-pixels"]
    types = {"tensor(float)": "TYPE_FP32", "tensor(uint8)": "TYPE_UINT8"}
    for folder in folders:
        config, module = model_config(folder)
        served = folder / "1" / config.default_model_filename
        session = onnxruntime.InferenceSession(served, providers=["CPUExecutionProvider"])
        assert config.name == folder.name
        assert config.backend == "onnxruntime"
        for listed, ends in (
            (config.input, session.get_inputs()),
            (config.output, session.get_outputs()),
        ):
            assert [(each.name, each.data_type, list(each.dims)) for each in listed] == [
                (
                    end.name,
                    typed(module, types[end.type]),
                    [axis if isinstance(axis, int) else -1 for axis in end.shape[1:]],
                )
                for end in ends
            ]
    assert (folders[0] / "1" / "model.onnx_data").read_bytes() == b"weights"
    assert not (folders[1] / "1" / "model_end_to_end.onnx_data").exists()


def test_batches_queues_and_instances_are_bounded(exported, tmp_path):
    serving = Serving(max_batch=4, instances=3)
    folder, _ = write_repository(exported, tmp_path / "models", serving, "shoes")

    config, _ = model_config(folder)
    queue = config.dynamic_batching.default_queue_policy
    assert (config.max_batch_size, config.instance_group[0].count) == (4, 3)
    assert (queue.max_queue_size, queue.default_timeout_microseconds) == (64, 30_000_000)
    assert queue.timeout_action == 0  # REJECT
    assert not config.HasField("optimization")
    assert list(config.model_warmup) == []


def test_tensorrt_and_warm_up_are_for_the_sizes_named(exported, tmp_path):
    serving = Serving(max_batch=2, tensorrt=True, warmup=(64, (96, 160)))
    tensors, pixels = write_repository(exported, tmp_path / "models", serving, "shoes")

    config, module = model_config(tensors)
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    parameters = accelerator.parameters
    assert accelerator.name == "tensorrt"
    assert parameters["trt_profile_min_shapes"] == "input_image:1x3x64x64"
    assert parameters["trt_profile_opt_shapes"] == "input_image:2x3x64x64"
    assert parameters["trt_profile_max_shapes"] == "input_image:2x3x96x160"
    assert parameters["precision_mode"] == "FP32"
    assert parameters["trt_engine_cache_enable"] == "1"
    assert parameters["trt_engine_cache_path"] == "/var/cache/birefnet/shoes"
    # The backend has names of its own for these.
    assert not {"device_id", "trt_fp16_enable", "trt_max_workspace_size"} & set(parameters)
    warm = {each.name: each.inputs["input_image"] for each in config.model_warmup}
    assert {name: list(each.dims) for name, each in warm.items()} == {
        "3x64x64": [3, 64, 64],
        "3x96x160": [3, 96, 160],
    }
    assert all(each.zero_data for each in warm.values())

    config, module = model_config(pixels)
    assert not config.HasField("optimization")
    assert [list(w.inputs["image"].dims) for w in config.model_warmup] == [
        [64, 64, 3],
        [96, 160, 3],
    ]
    assert config.model_warmup[0].inputs["image"].data_type == typed(module, "TYPE_UINT8")


def test_a_file_of_fp16_is_built_in_fp16(tmp_path):
    file = write_model(tmp_path / "model_fp16.onnx", facts=FACTS | {"birefnet.precision": "fp16"})

    (folder,) = write_repository(file, tmp_path / "models", Serving(tensorrt=True))

    config, _ = model_config(folder)
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.parameters["precision_mode"] == "FP16"
    assert accelerator.parameters["trt_layer_norm_fp32_fallback"] == "1"
    assert config.default_model_filename == "model_fp16.onnx"


def test_what_was_written_here_is_replaced_whole(exported, tmp_path):
    repository = tmp_path / "models"
    write_repository(exported, repository, Serving())
    (repository / "shoes-onnx" / "1" / "left").write_text("over")

    folder, _ = write_repository(exported, repository, Serving(max_batch=1))

    assert model_config(folder)[0].max_batch_size == 1
    assert not (folder / "1" / "left").exists()
    assert sorted(path.name for path in repository.iterdir()) == ["shoes-onnx", "shoes-onnx-pixels"]


@pytest.mark.parametrize("theirs", [None, 'name: "theirs"', b"\xff\xfe"])
def test_somebody_elses_folder_is_left_alone(exported, tmp_path, theirs):
    folder = tmp_path / "models" / "shoes-onnx-pixels"
    folder.mkdir(parents=True)
    if theirs is not None:
        content = theirs if isinstance(theirs, bytes) else theirs.encode()
        (folder / "config.pbtxt").write_bytes(content)

    with pytest.raises(OutputError, match="not written by birefnet"):
        write_repository(exported, tmp_path / "models", Serving())

    assert [path.name for path in (tmp_path / "models").iterdir()] == ["shoes-onnx-pixels"]


def test_a_damaged_model_leaves_nothing(exported, tmp_path):
    record_checksums(exported.parent, checksums_of([exported]))
    write_model(exported, weight=5)

    with pytest.raises(ModelError, match="changed or damaged"):
        write_repository(exported, tmp_path / "models", Serving())

    assert list((tmp_path / "models").iterdir()) == []


def test_a_pixel_file_alone_is_one_model(exported, tmp_path):
    whole = exported.with_name("model_end_to_end.onnx")

    (folder,) = write_repository(whole, tmp_path / "models", Serving())

    assert folder.name == "shoes-onnx-pixels"


def test_sizes_that_the_network_cannot_run_at_are_refused(exported, tmp_path):
    with pytest.raises(SizeError, match="multiples of 32"):
        write_repository(exported, tmp_path / "models", Serving(warmup=(100,)))

    assert not (tmp_path / "models").exists()


def test_a_graph_of_one_batch_is_refused(tmp_path, exported):
    model = onnx.load(exported)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, exported)

    with pytest.raises(ModelError, match="free first axis"):
        write_repository(exported, tmp_path / "models", Serving())


def test_the_command(exported, tmp_path, capsys):
    repository = tmp_path / "models"
    arguments = ["triton", str(exported), "-o", str(repository), "--warmup", "64", "--tensorrt"]

    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 0
    assert "shoes-onnx-pixels is ready for Triton 26.07 or later" in capsys.readouterr().out
    assert (repository / "shoes-onnx" / "config.pbtxt").read_text().startswith(CONFIG_MARK)
    shutil.rmtree(repository)
    with pytest.raises(SystemExit):
        main([*arguments[:4], "--warmup", "huge"])
    assert "'huge' is not a size" in capsys.readouterr().err


def test_the_copied_model_runs(exported, tmp_path):
    _, folder = write_repository(exported, tmp_path / "models", Serving())
    file = folder / "1" / "model_end_to_end.onnx"

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (alpha,) = session.run(None, {"image": np.full((1, 2, 3, 3), 7, np.uint8)})

    assert alpha.tolist() == [[[7, 7, 7], [7, 7, 7]]]


class Kserve(BaseHTTPRequestHandler):
    """Triton as far as its JSON goes, with ONNX Runtime behind it."""

    fault = staticmethod(lambda x: x)
    config: object = None
    """Of the model, as Triton tells it; other servers of the protocol have none."""

    def do_GET(self):
        assert self.path == "/v2/models/nano/config"
        self.send_response(404 if self.config is None else 200)
        self.end_headers()
        self.wfile.write(json.dumps(self.config).encode())

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        ((given,), (asked,)) = request["inputs"], request["outputs"]
        assert self.path == "/v2/models/nano/infer"
        assert given["datatype"] == "FP32"
        tensor = np.array(given["data"], np.float32).reshape(given["shape"])
        session = onnxruntime.InferenceSession(str(NANO), providers=["CPUExecutionProvider"])
        (found,) = session.run([asked["name"]], {given["name"]: tensor})
        found = self.fault(found)
        output = {"name": asked["name"], "datatype": "FP32", "shape": list(found.shape)}
        body = json.dumps({"outputs": [output | {"data": found.ravel().tolist()}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Kserve) as served:
        Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def test_a_server_is_asked_for_the_known_answer(server, monkeypatch, tmp_path):
    done = CliRunner().invoke(main, ["triton", "nano", "--check", server])
    assert done.exit_code == 0, done.output
    assert "answers right (alpha off by" in done.stdout

    monkeypatch.setattr(Kserve, "fault", staticmethod(lambda x: np.roll(x, 1, 2)))
    with pytest.raises(WrongAnswerError, match="answers wrong"):
        check_server(server, "nano", NANO)
    with pytest.raises(ModelError, match="gives no answer"):
        check_server("http://127.0.0.1:9", "nano", NANO)
    bare = write_model(tmp_path / "bare.onnx")
    with pytest.raises(ModelError, match="no known answer"):
        check_server(server, "bare", bare)


ENGINE = {"name": "tensorrt", "parameters": {"precision_mode": "FP16"}}
TENSORRT = {"execution_accelerators": {"gpu_execution_accelerator": [ENGINE]}}


@pytest.mark.parametrize(
    ("config", "allowed"),
    [
        (None, False),
        ([], False),
        ({"instance_group": [{"kind": "KIND_CPU"}]}, False),
        ({"instance_group": [{"kind": "KIND_GPU"}]}, True),
        ({"optimization": TENSORRT}, True),
    ],
)
def test_a_server_on_a_gpu_may_compute_coarser(server, monkeypatch, config, allowed):
    monkeypatch.setattr(Kserve, "config", config)
    monkeypatch.setattr(Kserve, "fault", staticmethod(lambda x: x + np.float32(2e-3)))

    with nullcontext() if allowed else pytest.raises(WrongAnswerError, match="logits"):
        check_server(server, "nano", NANO)


def test_the_request_and_its_answer_lie_in_the_repository(server, tmp_path):
    (folder,) = write_repository(NANO, tmp_path / "models", Serving(), "nano")

    stored = json.loads((folder / "known_answer.json").read_text())

    call = Request(f"{server}/v2/models/nano/infer", json.dumps(stored["request"]).encode())
    with urlopen(call) as response:
        output = json.load(response)["outputs"][0]
    logits = np.array(output["data"]).reshape(output["shape"])[:, 0]
    known = read_known_answer({KEY: json.dumps(stored["answer"])})
    off = known.off(Answer(known.answer.alphas, logits))["logits"]
    assert off.within(known.tolerance["logits"])


@pytest.mark.parametrize("name", ["../esc", "a/b", ".hidden", "a b"])
def test_a_name_that_leads_elsewhere_is_refused(name, tmp_path):
    with pytest.raises(OutputError, match="--name"):
        write_repository(NANO, tmp_path / "models", Serving(), name)
    done = CliRunner().invoke(main, ["triton", "nano", "-o", "s3://bucket/models"])
    assert (done.exit_code, "--output" in done.stderr) == (2, True)
