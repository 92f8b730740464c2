"""Ray itself: one machine, and two nodes of which one is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

COMMAND = "from birefnet_apps.cli.main import main; main()"


def run(*arguments: object, **options: object):
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        **options,
    )


@pytest.mark.slow
def test_the_command_does_the_same_on_ray(model, tmp_path, picture):
    """Names, records, bytes, lines and exit code; nothing of Ray's own on either stream."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.jpg", "a.webp", "sub/d.png"):
        Image.fromarray(picture).save(folder / name)
    Image.fromarray(picture * 0).save(folder / "dark.png")
    (folder / "b.jpg").write_bytes(b"no image")
    # Whoever did everything twice would find it there already.
    options = ("-m", model, "--json", "--threads", 1, "--format", "webp", "--skip-existing")
    options += ("--canvas", "4:5", "--padding", "3px", "--clean", "specks")

    plain = run("cutout", "in", "-o", "plain", *options, cwd=tmp_path)
    made = run("cutout", "in", "-o", "made", *options, "--on", "ray", cwd=tmp_path)

    assert plain.returncode == made.returncode == 1, made.stderr

    def records(done, output):
        found = [json.loads(line) for line in done.stdout.splitlines()]
        for record in found:
            record.pop("seconds", None)
            for place in ("output", "target"):
                record[place] = record.get(place) and record[place].replace(output, "out", 1)
            record["output"] = record["output"] and record["output"].replace(output, "out", 1)
        return sorted(found, key=lambda record: record["input"])

    assert records(made, "made") == records(plain, "plain")
    written = {path.relative_to(tmp_path / "plain") for path in (tmp_path / "plain").rglob("*.*")}
    assert len(written) == 4
    for name in written:
        assert (tmp_path / "made" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    lines = [line for line in made.stderr.splitlines() if line.strip()]
    assert sorted(line.partition(" in ")[0] for line in lines if "birefnet: " in line) == sorted(
        line.partition(" in ")[0] for line in plain.stderr.splitlines() if "birefnet: " in line
    )
    assert all(line.startswith(("birefnet: ", "cutting out")) for line in lines), made.stderr
    assert lines[-1].startswith("birefnet: 4 cutouts in ")


SIGNALS = [
    # Ctrl-C goes to every process of the terminal's; a second may come while the first is heard.
    pytest.param("file", [os.killpg, os.killpg], signal.SIGINT, id="two Ctrl-C within the run"),
    pytest.param("start", [os.killpg, os.killpg], signal.SIGINT, id="two Ctrl-C while Ray starts"),
    pytest.param("file", [os.kill], signal.SIGTERM, id="SIGTERM within the run"),
    pytest.param("start", [os.kill], signal.SIGTERM, id="SIGTERM while Ray starts"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("when", "sends", "number"), SIGNALS)
def test_signals_end_a_run_on_ray_as_they_end_others(when, sends, number, tmp_path, picture):
    """The shell's exit code, records alone on standard output, no traceback, no half file."""
    (tmp_path / "in").mkdir()
    for count in range(400):
        Image.fromarray(picture).save(tmp_path / "in" / f"{count}.png")
    command = ["cutout", "in", "-o", "out", "--on", "ray", "--json"]
    with (
        open(tmp_path / "lines", "w") as lines,
        open(tmp_path / "records", "w") as records,
        subprocess.Popen(
            [sys.executable, "-c", COMMAND, *command],
            cwd=tmp_path,
            stdout=records,
            stderr=lines,
            start_new_session=True,
        ) as process,
    ):
        marks = {
            "file": lambda: next((tmp_path / "out").glob("*.png"), None),
            "start": lambda: "ray/gcs" in _commands_below(process.pid),
        }
        while not marks[when]():
            assert process.poll() is None, (tmp_path / "lines").read_text()
            time.sleep(0.05)
        for send in sends:
            send(process.pid, number)
        code = process.wait(120)

    said = (tmp_path / "lines").read_text()
    # The second may come when all is done and the process is at its end.
    assert code == 128 + number or (len(sends) == 2 and code == -number), said
    assert "Traceback" not in said
    assert "stopped" in said
    for line in (tmp_path / "records").read_text().splitlines():
        assert json.loads(line)["output"]
    assert not list(tmp_path.glob("out/.birefnet-*"))


def _commands_below(pid: int) -> str:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return " ".join(Path(f"/proc/{child}/cmdline").read_text() for child in children)


DEADLY = """
import json, os, sys
import ray
from birefnet_apps.ray import cutout_dataset

ray.init(address="local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False,
         runtime_env={"env_vars": {"PYTHONPATH": sys.argv[2]}})
rows = cutout_dataset("in", "out", model=sys.argv[1], gpus_per_actor=1).take_all()
with open("rows.json", "w") as file:  # Ray writes to standard output when it likes.
    json.dump([[os.path.basename(row["input"]), row["error"]] for row in rows], file)
"""


@pytest.mark.slow
def test_on_a_gpu_a_picture_that_kills_its_actor_costs_nobody_else_anything(
    model, tmp_path, picture
):
    """An actor asks for a logical GPU; its process ends as it reads one of the pictures."""
    (tmp_path / "in").mkdir()
    for name in ("a", "deadly", "z"):
        Image.fromarray(picture).save(tmp_path / "in" / f"{name}.png")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import builtins, os, sys\n"
        "def hook(event, args):\n"
        "    if event == 'open' and str(args[0]).endswith('deadly.png'): os._exit(9)\n"
        "if 'default_worker.py' in ' '.join(sys.orig_argv): sys.addaudithook(hook)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", DEADLY, model, tmp_path / "site"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    rows = dict(json.loads((tmp_path / "rows.json").read_text()))
    assert {name: error is None for name, error in rows.items()} == {
        "a.png": True,
        "deadly.png": False,
        "z.png": True,
    }
    assert "ended 3 times" in rows["deadly.png"], rows
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.png", "z.png"}


@pytest.mark.interop
def test_an_actor_and_a_node_are_killed():
    """As in `benchmarks/results/scale.json`, smaller; in a process of its own."""
    program = (
        "import json; from pathlib import Path;"
        "from studies.service.cluster_trial import robustness;"
        "print(json.dumps(robustness(Path('examples/photos'), 30, 3)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=Path(__file__).parents[3],
    )

    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert (found["rows"], found["inputs_with_a_row"], found["results"]) == (30, 30, 27)
    assert set(found["killed_at_row"]) == {"actor", "node"}
