"""Many pictures, many processes: shards, retries, records, and where results of others lie."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from birefnet_apps.cli import main as cli
from click.testing import CliRunner
from PIL import Image

PROGRAM = [sys.executable, "-c", "from birefnet_apps.cli.main import main; main()"]
KILLED = """
import os, signal, sys
from birefnet_runtime import segmenter
runs = []
def run(self, prepared):
    runs.append(prepared)
    if len(runs) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, prepared)
real, segmenter.Segmenter.run = segmenter.Segmenter.run, run
from birefnet_apps.cli.main import main
main()
"""


def run(*arguments: object):
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "birefnet-records" not in path.parts
    }


@pytest.fixture
def photos(tmp_path, picture) -> Path:
    """Forty pictures, no two alike, in folders whose files share their names."""
    for number in range(40):
        folder = tmp_path / "photos" / f"{number // 10}"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{number % 10}.jpg" if number % 3 else f"{number % 10}.png"
        Image.fromarray(np.roll(picture, number, axis=1)).save(folder / name)
    Image.fromarray(picture).save(tmp_path / "photos" / "0" / "1.webp")  # beside 1.jpg
    return tmp_path / "photos"


@pytest.mark.slow
def test_a_job_array_with_two_jobs_killed_and_retried_gives_the_tree_of_one_run(
    model, photos, tmp_path
):
    files = sorted(path for path in photos.rglob("*") if path.is_file())
    lists = [files[number::10] for number in range(10)]
    for number, part in enumerate(lists):
        (tmp_path / f"list{number}").write_text("".join(f"{path}\n" for path in part))
    (tmp_path / "all").write_text("".join(f"{path}\n" for path in files))
    common = ("-m", str(model), "--relative-to", str(photos), "--threads", "1")

    def job(number: int, program: list[str]) -> subprocess.CompletedProcess[str]:
        command = [*program, "cutout", "--files-from", str(tmp_path / f"list{number}")]
        options = ["-o", str(tmp_path / "jobs"), *common, "--skip-existing"]
        return subprocess.run([*command, *options], capture_output=True, text=True, check=False)

    killed = [job(number, [sys.executable, "-c", KILLED]).returncode for number in (3, 7)]
    others = [job(number, PROGRAM).returncode for number in range(10) if number not in {3, 7}]
    retried = [job(number, PROGRAM).returncode for number in (3, 7)]
    whole = run("cutout", "--files-from", tmp_path / "all", "-o", tmp_path / "whole", *common)

    assert killed == [-signal.SIGKILL] * 2
    assert others + retried == [0] * 10
    assert whole.exit_code == 0
    assert len(tree(tmp_path / "whole")) == 41
    assert tree(tmp_path / "jobs") == tree(tmp_path / "whole")


def test_shards_together_are_the_whole_and_share_nothing(model, photos, tmp_path):
    run("cutout", photos, "-o", tmp_path / "whole", "-m", model)
    parts = []
    for number in range(1, 4):
        output = tmp_path / f"part{number}"
        done = run("cutout", photos, "-o", output, "-m", model, "--shard", f"{number}/3")
        assert done.exit_code == 0
        parts.append(tree(output))

    assert sum(map(len, parts)) == 41
    assert {name: content for part in parts for name, content in part.items()} == tree(
        tmp_path / "whole"
    )
    assert all(parts)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b"])
def test_parts_that_there_are_not_are_usage_errors(photos, text):
    done = run("cutout", photos, "-o", "out", "--shard", text)

    assert done.exit_code == 2
    assert "'--shard'" in done.stderr


def test_a_result_of_another_list_is_neither_overwritten_nor_taken(model, tmp_path, picture):
    for name, image in (("x", picture), ("y", picture[:, ::-1])):
        (tmp_path / name).mkdir()
        Image.fromarray(image).save(tmp_path / name / "1.png")
    output = tmp_path / "out"
    run("cutout", tmp_path / "x" / "1.png", "-o", f"{output}/", "-m", model)
    before = tree(output)

    for options in ((), ("--skip-existing",)):
        done = run("cutout", tmp_path / "y" / "1.png", "-o", f"{output}/", "-m", model, *options)
        assert done.exit_code == 1
        assert "--relative-to" in done.stderr
        assert "there already" not in done.stderr
    assert tree(output) == before
    done = run(
        *("cutout", tmp_path / "y" / "1.png", "-o", output, "-m", model),
        *("--relative-to", tmp_path),
    )
    assert done.exit_code == 0
    assert sorted(tree(output)) == ["1.png", "y/1.png.png"]


def test_what_lies_elsewhere_is_not_below_the_prefix(model, photos, tmp_path):
    done = run(
        "cutout", photos, "-o", tmp_path / "out", "-m", model, "--relative-to", tmp_path / "x"
    )

    assert done.exit_code == 1
    assert "is not below" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_only_what_failed_is_tried_again(model, tmp_path, picture, form):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b", "c"):
        Image.fromarray(picture).save(folder / f"{name}.png")
    good = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes(b"broken")
    output = tmp_path / "out"
    options = ("-o", output, "-m", model, "--records", form)
    first = run("cutout", folder, *options)
    (part,) = (output / "birefnet-records").iterdir()
    (folder / "b.png").write_bytes(good)

    for inputs in ((), (folder,)):
        (output / "b.png").unlink(missing_ok=True)
        before = tree(output)
        again = run("cutout", *inputs, "-o", output, "-m", model, "--retry-failed", part)
        assert again.exit_code == 0, again.stderr
        assert "birefnet: 1 cutout in " in again.stderr
        assert tree(output).keys() - before.keys() == {"b.png"}
    assert first.exit_code == 1
    assert part.suffix == f".{form}"


def test_lines_of_json_are_records_to_be_retried(model, tmp_path, picture):
    (tmp_path / "a.png").write_bytes(b"broken")
    first = run("cutout", tmp_path / "a.png", "-o", tmp_path / "out/", "-m", model, "--json")
    (tmp_path / "records.jsonl").write_text(first.stdout)
    Image.fromarray(picture).save(tmp_path / "a.png")

    done = run(
        *("cutout", "-o", tmp_path / "out", "-m", model),
        *("--retry-failed", tmp_path / "records.jsonl"),
    )

    assert done.exit_code == 0
    assert sorted(tree(tmp_path / "out")) == ["a.png"]


@pytest.mark.parametrize("content", [b"", b"not json\n", b"[1]\n", b'{"a": 1}\n', None])
def test_what_holds_no_records_is_a_line(model, tmp_path, content):
    place = tmp_path / "records"
    if content is None:
        place.mkdir()
    elif content:
        place.write_bytes(content)

    done = run("cutout", "-o", tmp_path / "out", "-m", model, "--retry-failed", place)

    assert done.exit_code == 1
    assert done.stderr.startswith(f"birefnet: {place}: ")
    assert done.stderr.count("\n") == 1


def test_a_hopeless_run_stops_after_so_many_failures(model, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(50):
        (folder / f"{number:02}.png").write_bytes(b"broken")

    done = run("cutout", folder, "-o", tmp_path / "out", "-m", model, "--max-failures", 3)

    assert done.exit_code == 1
    assert 3 <= done.stderr.count("not an image") < 20
    assert "stopped before " in done.stderr


def test_an_output_that_cannot_be_written_costs_no_picture(model, photos, tmp_path, monkeypatch):
    (tmp_path / "taken").write_bytes(b"a file")
    monkeypatch.setattr(
        "birefnet_apps.files.cutter.read", lambda *_, **__: pytest.fail("a picture was read")
    )

    done = run("cutout", photos, "-o", tmp_path / "taken" / "out", "-m", model)

    assert done.exit_code == 1
    assert f"{tmp_path / 'taken'}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_names_in_json_are_those_of_the_files(model, tmp_path, picture):
    name = "a\tb\u202ec.png"
    Image.fromarray(picture).save(tmp_path / name)

    done = run("cutout", tmp_path / name, "-o", tmp_path / "out/", "-m", model, "--json")

    assert json.loads(done.stdout)["input"] == str(tmp_path / name)
    assert "\\tb" in done.stdout
    assert os.path.exists(json.loads(done.stdout)["output"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["--crop", "--margin", "10"], ["--crop", "10%"]),
        (["--canvas", "1:1", "--padding", "10%"], ["--canvas", "1:1,10%"]),
        (
            ["--canvas", "100x80", "--position", "50% 100%"],
            ["--canvas", "100x80, 5%, 50% 100%"],
        ),
        (["--strip"], ["--metadata", "strip"]),
        (["--keep-gps"], ["--metadata", "gps"]),
        (["--engine", "local"], ["--on", "local"]),
        (["--crop"], ["--crop", "5%"]),
    ],
)
def test_old_spellings_do_what_the_new_ones_do(model, tmp_path, picture, old, new):
    image = np.zeros((200, 300, 3), np.uint8)
    image[50:100, 60:200] = 255
    Image.fromarray(image).save(tmp_path / "a.png")
    results = []
    for name, options in (("old", old), ("new", new)):
        output = tmp_path / f"{name}.png"
        done = run("cutout", *options, tmp_path / "a.png", "-o", output, "-m", model)
        assert done.exit_code == 0, done.stderr
        assert ("goes with version 0.5" in done.stderr) == (name == "old" and old != ["--crop"])
        results.append(output.read_bytes())

    assert results[0] == results[1]
    for option in old:
        if option.startswith("--") and option not in {"--crop", "--canvas"}:
            assert f"{option} " not in run("cutout", "--help").stdout


@pytest.mark.parametrize("target", ["/dev/null", "/dev/stdout", "fifo"])
def test_devices_and_pipes_are_written_to(model, tmp_path, picture, target):
    Image.fromarray(picture).save(tmp_path / "a.png")
    run("cutout", tmp_path / "a.png", "-o", tmp_path / "file.png", "-m", model)
    expected = (tmp_path / "file.png").read_bytes()
    command = [*PROGRAM, "cutout", str(tmp_path / "a.png"), "-m", str(model), "-o"]
    if target == "fifo":
        os.mkfifo(tmp_path / "fifo")
        process = subprocess.Popen([*command, str(tmp_path / "fifo")])
        with open(tmp_path / "fifo", "rb") as pipe:
            assert pipe.read() == expected
        assert process.wait() == 0
        return

    done = subprocess.run([*command, target], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout == (expected if target == "/dev/stdout" else b"")
    if target == "/dev/null":
        assert not Path("/dev/null").is_file()


def test_a_deleted_working_directory_is_a_line(model, tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "a.png")
    gone = tmp_path / "gone"
    script = (
        f"mkdir -p {gone} && cd {gone} && rmdir {gone} && exec "
        f'"$0" -c "from birefnet_apps.cli.main import main; main()" cutout -m {model} "$@"'
    )

    def there(*arguments: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["sh", "-c", script, sys.executable, *map(str, arguments)],
            capture_output=True,
            check=False,
            input=(tmp_path / "a.png").read_bytes(),
        )

    relative = there("x.png", "-o", tmp_path / "o.png")
    streams = there("-", "-o", "-")
    absolute = there(tmp_path / "a.png", "-o", tmp_path / "o.png")

    assert relative.returncode == 1
    assert b"the current directory was deleted" in relative.stderr
    assert b"Traceback" not in relative.stderr
    assert streams.returncode == 0, streams.stderr
    assert absolute.returncode == 0, absolute.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_temporary_file(model, tmp_path, picture, number):
    for index in range(9):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "in" / f"{index}.png")
    program = KILLED.replace("SIGKILL", number.name).replace("== 3", "== 1")

    done = subprocess.run(
        [sys.executable, "-c", program, "cutout", tmp_path / "in", "-o", tmp_path / "out",
         "-m", model],
        capture_output=True, check=False,
    )  # fmt: skip

    assert done.returncode == 128 + number, done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0.png"]
    assert b"Traceback" not in done.stderr


def test_folders_hold_what_is_read_by_name(model, tmp_path, picture):
    folder = tmp_path / "in"
    folder.mkdir()
    image = Image.fromarray(picture)
    kinds = {
        "a.jpe": "JPEG", "b.jif": "JPEG", "c.j2k": "JPEG2000", "d.jpx": "JPEG2000", "e.ico": "ICO",
        "f.qoi": "QOI", "g.mpo": "MPO", "h.dib": "DIB", "i.avifs": "AVIF", "k.pcx": "PCX",
    }  # fmt: skip
    for name, form in kinds.items():
        image.save(folder / name, form)

    done = run("cutout", folder, "-o", tmp_path / "out", "-m", model)

    assert done.exit_code == 0, done.stderr
    assert len(tree(tmp_path / "out")) == len(kinds)
