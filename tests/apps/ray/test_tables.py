"""Jobs and records on their way through Arrow, without a cluster."""

import json
import os
import socket
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from birefnet_apps.files.cutter import CutterSettings, FileCutter
from birefnet_apps.files.jobs import Failure, Job
from birefnet_apps.ray import Cutout
from birefnet_apps.ray.actor import CutFiles, Delivery, deliver, reports_of
from birefnet_apps.ray.cluster import Pool, connected, plan_actors
from birefnet_apps.ray.tables import job_tables, jobs_of, plain_record, record_table
from birefnet_apps.storage import RemotePath
from birefnet_runtime.errors import ClusterError, ImageError
from birefnet_runtime.segmenter import Segmenter
from birefnet_runtime.session.memory import PICTURE_BYTES
from PIL import Image


@pytest.fixture(autouse=True)
def opencv_threads():
    """What an actor sets for its own process."""
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


@pytest.fixture
def folder(tmp_path, picture, monkeypatch):
    """A current directory with two pictures and a broken one in `in`."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for name in ("a.png", "c.png"):
        Image.fromarray(picture).save(f"in/{name}")
    Path("in/b.png").write_bytes(b"no image")
    return tmp_path


@pytest.fixture
def jobs():
    return [Job(Path(f"in/{name}.png"), Path(f"out/{name}.png")) for name in "abc"]


def plain(table):
    return [plain_record(row) for row in table.to_pylist()]


def without_seconds(records):
    return [{key: value for key, value in r.items() if key != "seconds"} for r in records]


def test_jobs_come_through():
    jobs = [
        Job(Path(os.fsdecode(b"in/\xff.jpg")), RemotePath("s3://me:secret@b/a"), overwrite=False),
        Job(RemotePath("s3://b/a//c.jpg"), Path("out/c.png")),
        Job(Path("d"), Path("e")),
    ]
    failures = [Failure(Path("f"), ImageError("f: broken"))]

    tables = list(job_tables(jobs, failures, 2))

    assert [table.num_rows for table in tables] == [2, 2]
    found = [pair for table in tables for pair in jobs_of(table)]
    assert [job for job, error in found if error is None] == jobs
    assert found[-1][1] == "f: broken"


def test_records_are_those_of_the_plain_engine(model, folder, jobs):
    (table,) = job_tables(jobs, [Failure(Path("x"), ImageError("x: broken"))], 10)
    plainly = [r.as_record() for r in FileCutter(Segmenter(model), workers=1).cut_out(jobs)]

    made = plain(
        CutFiles(CutterSettings(model=str(model)), deliver(str(model), 1), str(folder))(table)
    )

    assert made[0] == {"input": "x", "output": None, "error": "x: broken"}
    expected = json.loads(json.dumps(without_seconds(plainly)))
    assert json.loads(json.dumps(without_seconds(made[1:]))) == expected
    assert set(made[1]["seconds"]) == {"read", "run", "compose", "write"}
    again = CutFiles(
        CutterSettings(model=str(model), skip_existing=True), deliver(str(model), 1), str(folder)
    )
    assert [r.get("skipped", False) for r in plain(again(table))] == [False, True, False, True]


def test_a_model_that_cannot_be_opened_is_the_error_of_every_row(folder, jobs):
    (table,) = job_tables(jobs, [], 10)

    made = CutFiles(CutterSettings(), Delivery("gone.onnx"), str(folder))(table).to_pylist()

    assert [row["fatal"] for row in made] == [True] * 3
    assert "gone.onnx" in made[0]["error"]


@pytest.mark.parametrize(("complete", "room"), [(True, "their own"), (False, "any photograph's")])
def test_an_actor_looks_at_its_pictures_before_a_limit_chooses(
    complete, room, folder, jobs, monkeypatch
):
    """As a run over files does; where there are more tables, the rest may be larger."""
    opened = []
    monkeypatch.setattr(CutterSettings, "open", lambda self: opened.append(self) or cutter)
    cutter = FileCutter(Segmenter("nano"))
    settings = CutterSettings(opening={"max_memory": "1GB"})
    sound = [job for job in jobs if "b.png" not in str(job.source)]
    (table,) = job_tables(sound, [], 10)

    CutFiles(settings, deliver("nano", 1), str(folder), complete=complete)(table)

    (needed,) = [one.opening["picture_bytes"] for one in opened]
    assert (needed < PICTURE_BYTES) == (room == "their own")


def test_a_bug_is_a_row_and_no_end(model, folder, jobs, monkeypatch):
    cutter = FileCutter(Segmenter(model))
    monkeypatch.setattr(Segmenter, "finish", lambda *_: [][1])

    reports = list(reports_of(cutter, jobs))

    assert len(reports) == 3
    assert all(report.error for report in reports)


def test_names_that_are_no_text_become_printable():
    name = os.fsdecode(b"\xff.jpg")

    (record,) = plain(record_table([{"input": name, "output": None, "error": "x"}]))

    assert record["input"] == "\\udcff.jpg"


@pytest.mark.parametrize(
    ("pool", "room"),
    [
        (Pool(), (4, 4, None, 4)),
        (Pool(cpus=2), (8, 2, None, 2)),
        (Pool(actors=3, cpus=8), (3, 8, None, 8)),
        (Pool(gpus=1), (2, None, 1, 4)),
        (Pool(gpus=0.5), (4, None, 0.5, 2)),
    ],
)
def test_room(pool, room):
    machines = [{"CPU": 8, "GPU": 2}, {"CPU": 8}, {"memory": 1}]

    found = plan_actors(pool, machines)

    assert (found.actors, found.cpus, found.gpus, found.threads) == room


@pytest.mark.parametrize(
    ("pool", "text"),
    [
        (Pool(cpus=16), "no machine of the cluster has 16 CPUs, the largest has 8"),
        (Pool(gpus=1), "no machine of the cluster has 1 GPUs, the largest has 0"),
    ],
)
def test_no_room_is_said_at_once(pool, text):
    with pytest.raises(ClusterError, match=text):
        plan_actors(pool, [{"CPU": 8}])


@pytest.mark.parametrize("named_by", ["address", "environment", "file"])
def test_a_head_that_is_gone_is_said_at_once(named_by, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if named_by == "environment":
        monkeypatch.setenv("RAY_ADDRESS", gone)
    if named_by == "file":
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray/ray_current_cluster").write_text(f"{gone}\n")

    with (
        pytest.raises(ClusterError, match=f"Ray cluster answers at {gone}: "),
        connected(gone if named_by == "address" else "auto"),
    ):
        raise AssertionError("not reached")


def test_a_model_is_brought_where_it_is_not(make_model, tmp_path, monkeypatch):
    path = make_model("m.onnx")
    monkeypatch.setenv("BIREFNET_CACHE", str(tmp_path / "cache"))
    contents = []
    delivery = deliver(str(path), 2, lambda content: contents.append(content) or content)
    given = []

    def get(content):
        given.append(content)
        return content

    assert delivery.receive(get) == str(path), "where the file lies nothing is brought"
    assert not given
    path.rename(tmp_path / "elsewhere.onnx")
    copies = {delivery.receive(get) for _ in range(2)}

    (copy,) = copies
    assert Path(copy).read_bytes() == contents[0]
    assert len(given) == 1
    assert deliver("nano", 2).receive(get) == "nano"
    assert deliver("s3://b/m.onnx", 2) == Delivery("s3://b/m.onnx")


def test_cutout_of_bytes(model, folder):
    step = Cutout(str(model), threads=1)
    images = [Path(f"in/{name}.png").read_bytes() for name in "abc"]

    made = step({"bytes": images, "label": [1, 2, 3]})

    assert made["label"] == [1, 2, 3]
    assert [bool(cell) for cell in made["cutout"]] == [True, False, True]
    assert made["error"][1].startswith("row 1: not an image")
    assert list(made["found"]) == [True, None, True]
    assert made["image_size"][0] == [48, 80]
    assert len(made["box"][0]) == 4
    job = Job(Path("in/a.png"), Path("a.png"))
    list(FileCutter(Segmenter(model)).cut_out([job]))
    assert made["cutout"][0] == Path("a.png").read_bytes()


def test_cutout_looks_twice_as_the_plain_engine_does(model, folder):
    image = np.zeros((480, 600, 3), np.uint8)
    image[100:140, 450:500] = 255
    Image.fromarray(image).save("in/small.png")
    jobs = [Job(Path("in/small.png"), Path(f"{name}.png")) for name in ("once", "twice")]
    list(FileCutter(Segmenter(model)).cut_out(jobs[:1]))
    list(FileCutter(Segmenter(model, refine=True)).cut_out(jobs[1:]))

    made = Cutout(str(model), threads=1, refine=True)(
        {"bytes": [Path("in/small.png").read_bytes()]}
    )

    assert made["cutout"][0] == Path("twice.png").read_bytes() != Path("once.png").read_bytes()


def test_cutout_of_paths_to_paths(model, folder):
    step = Cutout(str(model), column="path", target="target", threads=1)

    made = step({"path": ["in/a.png", "in/b.png"], "target": ["out/a.webp", "out/b.webp"]})

    assert "cutout" not in made
    assert made["error"][0] is None
    assert sorted(os.listdir("out")) == ["a.webp"]


@pytest.mark.parametrize("named", [True, False])
def test_a_cluster_that_wants_a_token_says_so(named, monkeypatch):
    """Ray's own error names neither: it stands among what led to it."""
    import ray

    def refuse(**_):
        try:
            raise RuntimeError("RPC error: InvalidAuthToken: missing" if named else "no route")
        except RuntimeError as error:
            raise ConnectionError("Failed to connect to Ray cluster at h:1") from error

    monkeypatch.setattr(ray, "init", refuse)

    with pytest.raises(ClusterError) as caught, connected():
        raise AssertionError("not reached")

    assert ("RAY_AUTH_TOKEN" in str(caught.value)) == named
    assert ("Failed to connect" in str(caught.value)) != named
