import os
import threading

import onnx
import pytest
from birefnet_models import embedded_path, find
from birefnet_runtime import ModelError
from birefnet_runtime.model.locate import ModelFile
from birefnet_runtime.session.open import open_session
from birefnet_runtime.session.ort_errors import log_reason, why_not_loaded
from birefnet_runtime.stderr import caught_stderr, write_line
from onnx import helper


def test_what_native_code_writes_is_caught(capfd):
    with caught_stderr() as caught:
        os.write(2, b"from C++\n")
        print("from a block that says", flush=True)
        write_line("a line for people")

    assert caught.text == "from C++\n"
    out, err = capfd.readouterr()
    assert (out, err) == ("from a block that says\n", "a line for people\n")


def test_it_ends_with_the_block_however_that_ends(capfd):
    def fail():
        os.write(2, b"before\n")
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"), caught_stderr() as caught:
        fail()
    os.write(2, b"after\n")
    write_line("and a line")

    assert caught.text == "before\n"
    assert capfd.readouterr().err == "after\nand a line\n"


def test_one_block_at_a_time(capfd):
    """Two threads that open sessions do not lose each other's stderr."""

    def work():
        for _ in range(50):
            with caught_stderr():
                os.write(2, b"x")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"end\n")

    assert capfd.readouterr().err == "end\n"


LOG = (
    "\x1b[1;31m2026-11-22 04:07:20.4 [E:onnxruntime:Default, provider_bridge_ort.cc:2458 op()] "
    "/src/provider_bridge_ort.cc:2043 onnxruntime::ProviderLibrary::Get() [ONNXRuntimeError] : 1 : "
    "FAIL : Failed to load library /x/libonnxruntime_providers_cuda.so with error: "
    "libcublasLt.so.13: cannot open shared object file: No such file or directory\n\x1b[m\n"
    "\x1b[0;93m2026-11-22 04:07:20.4 [W:onnxruntime:Default, pybind.cc:1295 Create] Failed\x1b[m\n"
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", None),
        ("something else\n", None),
        (LOG, "libcublasLt.so.13: cannot open shared object file: No such file or directory"),
        ("[E:onnxruntime:, ov_factory.cc:437 CreateEp] Only 1 device", "Only 1 device"),
    ],
)
def test_the_reason_is_read_out_of_the_log(text, reason):
    assert log_reason(text) == reason


@pytest.mark.parametrize(
    ("operator", "opset", "version", "says"),
    [
        ("DeformConv", 19, "1.20.1", "its DeformConv needs ONNX Runtime 1.25 or later, found 1.20"),
        ("Relu", 23, "1.22.0", "its opset 23 needs ONNX Runtime 1.23 or later, found 1.22.0; "),
        ("Relu", 17, "1.20.1", None),
        ("DeformConv", 19, "1.25.0", None),
    ],
)
def test_a_file_that_is_too_new_says_so(tmp_path, operator, opset, version, says):
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"])], "g", [], [])
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "new.onnx")

    reason = why_not_loaded(ModelFile(tmp_path / "new.onnx"), version)

    assert reason is None if says is None else says in reason


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 973000000\n"
STAND_INS = [
    (LFS, "git lfs pull"),
    (b"<!DOCTYPE html><title>404</title>", "HTML page"),
    (b"", "is empty"),
]


@pytest.mark.parametrize(("content", "says"), STAND_INS)
def test_a_file_that_was_not_fetched_says_so(tmp_path, content, says):
    (tmp_path / "model.onnx").write_bytes(content)

    with pytest.raises(ModelError, match=f"model.onnx: .*{says}"):
        open_session(tmp_path / "model.onnx")


@pytest.mark.parametrize(("content", "says"), [*STAND_INS, (None, "is not beside it")])
def test_weights_beside_a_file_that_were_not_fetched_are_named(tmp_path, content, says):
    graph = onnx.load(embedded_path(find("nano")))
    onnx.save(graph, tmp_path / "model.onnx", save_as_external_data=True, location="model.data")
    (tmp_path / "model.data").unlink()
    if content is not None:
        (tmp_path / "model.data").write_bytes(content)

    with pytest.raises(ModelError, match=f"model.onnx: .*model.data, which .*{says}"):
        open_session(tmp_path / "model.onnx")
