"""Kernels in turns: what is compared, and the table of it."""

from studies.deform_conv.kernels import Turns, in_turns, markdown_table


def test_all_run_in_each_round_and_the_first_is_not_counted():
    order = []

    turns = in_turns({name: lambda name=name: order.append(name) for name in "ab"}, rounds=2)

    assert order == list("ababab")
    assert {name: len(each) for name, each in turns.processor_s.items()} == {"a": 2, "b": 2}


def test_a_ratio_is_of_the_same_round():
    turns = Turns({"plain": [1.0, 10.0, 2.0], "kernels": [0.5, 6.0, 1.0]}, {})

    assert turns.ratio("kernels", "plain") == 0.5


def test_the_tables():
    turns = {"processor_s": {"onnxruntime": [0.2], "fp32 avx2": [0.1]}, "clock_s": {}}
    model = {
        "backbone": "swin_v1_t", "lowering": "rows", "precision": "int8", "size": 1024,
        "threads": 2, "processor_s": {"plain": [4.0], "kernels": [2.0]}, "clock_s": {},
        "peak_rss_bytes": {"plain": 2_000_000_000, "kernels": None},
    }  # fmt: skip

    text = markdown_table(
        {
            "environment": {"processor": "X", "packages": {"onnxruntime": "1.32.0"}},
            "load": 0.5,
            "nodes": [{"kernel": (1, 7), "side": 64, **turns}],
            "models": [model],
        }
    )

    assert "| 1 x 7 | 64² | 200 (1.00) |  | 100 (0.50) |" in text
    assert "| swin_v1_t | rows | int8 | 1024 | 2 | 4 | 2 | 0.50 | " in text
