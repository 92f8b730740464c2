"""IO binding, run for real on the CPU as the device: the calls are those that a GPU gets."""

import threading

import birefnet_models
import numpy as np
import onnxruntime
import pytest
from birefnet_runtime.session.device_buffers import BoundRunner


@pytest.fixture(scope="module")
def session(model):
    return onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])


def image(*shape, value=1.0):
    return np.full((shape[0], 3, *shape[1:]), value, np.float32)


def test_the_answer_is_that_of_a_plain_run(session):
    tensor = np.random.default_rng(0).normal(size=(2, 3, 32, 64)).astype(np.float32)

    np.testing.assert_array_equal(
        BoundRunner(session, "cpu").run(tensor), session.run(None, {"input_image": tensor})[0]
    )


def test_buffers_are_kept_for_each_shape_and_answers_are_not_overwritten(session):
    runner = BoundRunner(session, "cpu")

    first = runner.run(image(1, 32, 32, value=1.0))
    kept = runner._shapes[1, 3, 32, 32]
    second = runner.run(image(1, 32, 32, value=2.0))

    assert runner._shapes[1, 3, 32, 32] is kept
    np.testing.assert_allclose(first, 4.0, rtol=1e-5)
    np.testing.assert_allclose(second, 8.0, rtol=1e-5)


def test_the_shape_used_longest_ago_goes_first(session):
    runner = BoundRunner(session, "cpu", kept=2)

    for height in (32, 64, 32, 96):
        runner.run(image(1, height, 32))

    assert [shape[2] for shape in runner.shapes] == [32, 96]


def test_a_batch_in_one_run(session):
    tensor = np.concatenate([image(1, 32, 32, value=v) for v in (0.0, 1.0, 2.0)])

    answer = BoundRunner(session, "cpu").run(tensor)

    np.testing.assert_allclose(answer[:, 0, 0, 0], [0, 4, 8], rtol=1e-5)


def test_an_array_that_is_a_view_is_copied_as_it_looks(session):
    tensor = image(1, 64, 32)[:, :, ::2]
    assert not tensor.flags.c_contiguous

    assert BoundRunner(session, "cpu").run(tensor).shape == (1, 1, 32, 32)


def test_threads_do_not_mix_their_answers(session):
    runner = BoundRunner(session, "cpu")
    wrong = []

    def work(value):
        for _ in range(20):
            answer = runner.run(image(1, 32, 32, value=value))
            if not np.allclose(answer, 4 * value, rtol=1e-5):
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in (1.0, 2.0, 3.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not wrong


class GraphSession:
    """A session that notes which CUDA graph each run is for, and which are released."""

    def __init__(self, real):
        self.real = real
        self.released = []
        self.ran = []

    def __getattr__(self, name):
        return getattr(self.real, name)

    def run_with_iobinding(self, binding, options):
        self.ran.append(options.get_run_config_entry("gpu_graph_id"))
        self.real.run_with_iobinding(binding)

    def release_captured_graph(self, graph_id):
        self.released.append(graph_id)


def test_each_shape_records_a_cuda_graph_of_its_own(session):
    graphs = GraphSession(session)
    runner = BoundRunner(graphs, "cpu", cuda_graph=True, kept=2)

    for height in (32, 64, 32, 96, 64):
        runner.run(image(1, height, 32))

    assert graphs.ran == ["1", "2", "1", "3", "4"], "a dropped graph's number is not used again"
    assert graphs.released == [2, 1]


def test_a_run_can_be_interrupted_and_the_next_is_right():
    nano = str(birefnet_models.embedded_path(birefnet_models.all_cards()[0]))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    runner = BoundRunner(onnxruntime.InferenceSession(nano, options), "cpu")
    large = np.random.default_rng(0).random((1, 3, 1024, 1024), np.float32)
    small = np.ascontiguousarray(large[..., :96, :96])
    expected = runner.run(small)
    failures = []

    def run():
        try:
            runner.run(large)
        except RuntimeError as error:
            failures.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        runner.interrupt()
        thread.join(0.01)

    assert len(failures) == 1
    assert "terminate" in failures[0]
    assert np.array_equal(runner.run(small), expected)
