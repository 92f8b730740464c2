from birefnet_benchmarks.cli import bench
from birefnet_benchmarks.report import markdown_table, read_results
from birefnet_runtime import cli
from click.testing import CliRunner


def test_bench_measures_and_writes_what_it_prints(tmp_path):
    output = tmp_path / "results.json"

    result = CliRunner().invoke(bench, ["--size", "64", "--repeats", "3", "-o", str(output)])

    assert result.exit_code == 0, result.stderr
    results = read_results(output)
    (only,) = results.measurements
    assert only.ran_size == (64, 64)
    assert len(only.times_s) == 3
    assert only.cold_start_s > max(only.times_s)
    assert result.stdout.startswith(markdown_table(results.measurements))


def test_a_model_that_is_not_there_is_one_line(tmp_path):
    result = CliRunner().invoke(cli.main, ["bench", "--model", "nope.onnx"])

    assert result.exit_code == 1
    assert result.stderr.startswith("birefnet: nope.onnx can't be measured: ")
    assert result.stderr.count("\n") == 1
