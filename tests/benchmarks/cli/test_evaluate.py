import contextlib
import csv
import json
import re
import subprocess
import sys
import textwrap

import pytest
from birefnet_apps.cli import main as cli
from birefnet_benchmarks.cli import evaluate as command
from birefnet_benchmarks.evaluation.quality import EFFORTS, METRICS
from birefnet_models.base.extras import missing_extra
from birefnet_runtime import Segmenter
from click.testing import CliRunner
from PIL import Image

from ..conftest import write_brightness, write_pair


def run(*arguments):
    return CliRunner().invoke(cli.main, ["evaluate", *map(str, arguments)])


def columns(line):
    return re.split(r" {2,}", line)


@pytest.fixture
def folder(tmp_path):
    for name, seen in (("a", 1.0), ("b", 0.25), ("c", 0.5)):
        write_pair(tmp_path / "mine", name, seen)
    return tmp_path / "mine"


def test_scores_are_printed_and_written(brightness, folder, tmp_path):
    output = tmp_path / "deep" / "scores"

    done = run(brightness, "--images", folder, "--output", output, "--worst", 2)

    assert done.exit_code == 0, done.stderr
    heading, _, labels, row = done.stdout.splitlines()
    assert heading.startswith(f"{brightness} at 64x64 on cpu; pysodmetrics ")
    shown = dict(zip(columns("name  " + labels.strip()), columns(row), strict=True))
    assert (shown["name"], shown["images"], shown["mIoU"]) == ("mine", "3", "0.5833")
    assert list(shown)[2:] == [metric.label for metric in METRICS]
    assert f"birefnet: 3 of 3 images scored: {output}" in done.stderr
    assert sorted(path.name for path in output.iterdir()) == [
        "scores.csv",
        "summary.json",
        "worst.png",
    ]
    with Image.open(output / "worst.png") as sheet:
        assert sheet.height > 2 * 64


def test_the_table_of_files_has_a_line_an_image(brightness, folder, tmp_path):
    (folder / "im" / "b.png").write_bytes(b"")

    done = run(brightness, "--images", folder, "--output", tmp_path / "out")

    assert done.exit_code == 1
    assert f"birefnet: {folder / 'im' / 'b.png'}: the file is empty" in done.stderr
    assert done.stdout.splitlines()[0].endswith("; 2 of 3 images, 1 failed")
    with (tmp_path / "out" / "scores.csv").open(newline="", encoding="utf-8") as stream:
        first, failed, last = csv.DictReader(stream)
    assert first["name"] == "a"
    assert float(first["iou"]) == 1
    assert (last["height"], last["width"], last["model_size"]) == ("64", "64", "64x64")
    assert failed["s_measure"] == ""
    assert failed["error"].endswith("the file is empty")
    assert {metric.key for metric in METRICS} <= first.keys()


def test_the_summary_says_what_was_run(brightness, folder, tmp_path):
    done = run(
        *(brightness, "--images", folder / "im", "--masks", folder / "gt", "--limit", 2),
        *("--hce", "--json", "--output", tmp_path),
    )

    stored = json.loads(done.stdout)
    assert stored == json.loads((tmp_path / "summary.json").read_text())
    assert (stored["schema"], stored["version"]) == ("birefnet-evaluation", 1)
    assert stored["model"]["file"] == str(brightness)
    assert len(stored["model"]["sha256"]) == 64
    assert stored["model_size"] == [64, 64]
    assert stored["settings"]["pairs"] == 3
    assert stored["settings"]["limit"] == 2
    assert stored["settings"]["provider"] == "cpu"
    assert stored["environment"]["packages"]["onnxruntime"]
    (subset,) = stored["subsets"]
    assert (subset["name"], subset["images"]) == ("mine", 2)
    assert subset["scores"] == stored["overall"]["scores"]
    assert list(subset["scores"]) == [*(metric.key for metric in METRICS), EFFORTS.key]


def test_dis5k_has_scores_for_each_subset_and_for_all(brightness, tmp_path):
    write_pair(tmp_path / "DIS5K" / "DIS-VD", "a", 0.5)
    write_pair(tmp_path / "DIS5K" / "DIS-TE1", "a", 1.0)
    write_pair(tmp_path / "DIS5K" / "DIS-TR", "a", 0.0)

    done = run(brightness, "--images", tmp_path / "DIS5K")

    assert [line.split()[:2] for line in done.stdout.splitlines()[3:]] == [
        ["DIS-TE1", "1"],
        ["DIS-VD", "1"],
        ["all", "2"],
    ]
    assert "DIS-TR is for training" in done.stderr


def test_published_scores_stand_beside_those_measured(tmp_path):
    model = write_brightness(tmp_path / "m.onnx", model="512", trained_size="512x512")
    write_pair(tmp_path / "DIS-VD", "a")

    at_trained = run(model, "--images", tmp_path / "DIS-VD", "--output", tmp_path / "out")
    elsewhere = run(model, "--images", tmp_path / "DIS-VD", "--size", 64)

    lines = [line.split() for line in at_trained.stdout.splitlines()]
    assert lines[4] == ["published", "0.8880", "0.8400", "0.0400"]
    assert lines[5][0] == "difference"
    assert float(lines[5][1]) == pytest.approx(float(lines[3][2]) - 0.888, abs=1e-4)
    assert lines[5][1].startswith("+")
    assert "published for DIS-VD, at 512x512: huggingface.co" in at_trained.stdout
    (subset,) = json.loads((tmp_path / "out" / "summary.json").read_text())["subsets"]
    known = subset["published"]["s_measure"]
    assert known["difference"] == pytest.approx(subset["scores"]["s_measure"] - 0.888)
    assert "published" not in elsewhere.stdout


def test_a_part_is_said_to_be_one_and_efforts_are_whole_numbers(brightness, folder):
    done = run(brightness, "--images", folder, "--limit", 2, "--hce")

    heading, _, labels, row = done.stdout.splitlines()
    assert heading.endswith("; 2 of 3 images")
    assert labels.split()[-1] == "HCE"
    assert row.split()[-1].isdecimal()


def test_failures_are_counted_where_they_are(brightness, tmp_path):
    for subset, names in (("DIS-TE1", "ab"), ("DIS-VD", "c")):
        for name in names:
            write_pair(tmp_path / subset, name)
    (tmp_path / "DIS-TE1" / "im" / "b.png").write_bytes(b"damaged")

    done = run(brightness, "--images", tmp_path, "--json")

    stored = json.loads(done.stdout)
    assert [(part["name"], part["failed"]) for part in stored["subsets"]] == [
        ("DIS-TE1", 1),
        ("DIS-VD", 0),
    ]
    assert (stored["overall"]["failed"], stored["overall"]["images"]) == (1, 2)


def test_names_can_not_speak_to_the_terminal(brightness, tmp_path):
    """A carriage return could write another line over the one that is true."""
    write_pair(tmp_path / "mine\rall well", "a")

    done = run(brightness, "--images", tmp_path / "mine\rall well")

    assert done.exit_code == 0
    assert "\r" not in done.stdout
    assert "mine" in done.stdout


def test_what_a_reader_should_know_is_said(brightness, folder):
    with Image.open(folder / "gt" / "a.png") as mask:
        mask.point(lambda level: 0).save(folder / "gt" / "a.png")
    (folder / "im" / "b.png").rename(folder / "im" / "z.png")

    done = run(brightness, "--images", folder, "--partial")

    assert done.exit_code == 0
    assert "without a counterpart: 2 (" in done.stderr
    assert "without a subject: 1;" in done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("no masks", "holds no folders im/ and gt/, nor subsets that do"),
        ("unmatched", "images and masks don't fit together: 1 without a mask"),
        ("damaged", "not one of 3 images could be scored"),
        ("no model", "no such file"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    brightness, folder, tmp_path, change, said
):
    model, images = brightness, folder
    if change == "no masks":
        images = folder / "im"
    elif change == "unmatched":
        (folder / "gt" / "b.png").unlink()
    elif change == "damaged":
        for path in (folder / "im").iterdir():
            path.write_bytes(b"damaged")
    else:
        model = tmp_path / "missing.onnx"

    done = run(model, "--images", images, "--output", tmp_path / "out")

    assert done.exit_code == 1
    assert done.stdout == ""
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_output_that_can_not_be_written_is_one_line(brightness, folder, tmp_path):
    (tmp_path / "file").touch()

    done = run(brightness, "--images", folder, "--output", tmp_path / "file" / "out")

    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith(f"birefnet: {tmp_path / 'file' / 'out'}: ")


def test_ctrl_c_leaves_the_scores_of_what_was_done(brightness, folder, tmp_path, monkeypatch):
    runs = []

    def count(segmenter, tensors, run=Segmenter.run):
        runs.append(tensors)
        return run(segmenter, tensors)

    monkeypatch.setattr(Segmenter, "run", count)
    pressed = contextlib.nullcontext(lambda: len(runs) == 2)
    monkeypatch.setattr(command, "interruptible", lambda: pressed)

    done = run(brightness, "--images", folder, "--output", tmp_path / "out")

    assert done.exit_code == 130
    stored = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert stored["settings"]["stopped"] is True
    assert stored["overall"]["images"] == 2


BLOCKED = textwrap.dedent(
    """
    import sys

    class Block:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in sys.argv[1].split(","):
                raise ModuleNotFoundError(f"blocked: {name}", name=name)

    sys.meta_path.insert(0, Block())
    blocked = sys.argv.pop(1)
    from birefnet_apps.cli.main import main
    main()
    """
)


def run_without(blocked, *arguments):
    program = BLOCKED.replace("sys.argv[1].split", f"{blocked!r}.split")
    command = [sys.executable, "-W", "error", "-c", program, blocked, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_needs_no_torch(folder):
    arguments = ("evaluate", "nano", "--images", folder, "--json")

    done = run_without("torch,onnx,transformers,huggingface_hub", *arguments)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["overall"]["images"] == 3


@pytest.mark.parametrize("blocked", ["py_sod_metrics", "matplotlib,py_sod_metrics"])
def test_without_the_metrics_library_the_extra_is_named(folder, blocked):
    done = run_without(blocked, "evaluate", "nano", "--images", folder)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"birefnet: {missing_extra('py_sod_metrics')}\n"
