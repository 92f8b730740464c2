"""Folders from Python: a report of each file, in any number, until it is told to stop."""

import json
import threading

import numpy as np
import pytest
from birefnet_apps import cutout_files
from birefnet_apps.cli import main as cli
from birefnet_runtime import Encoding, ImageError, Interrupted, OutputError, Segmenter, Style
from PIL import Image


@pytest.fixture
def folder(tmp_path, picture):
    """A tree with three photographs, one of them damaged, and a folder without any."""
    for place in ("in/a.png", "in/below/b.png", "in/below/c.png"):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    (tmp_path / "in/below/c.png").write_bytes(b"damaged")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_a_folder_comes_out_as_the_command_makes_it(folder, model):
    from click.testing import CliRunner

    run = cutout_files(folder / "in", folder / "out", model=model)
    reports = list(run)
    arguments = ["cutout", folder / "in", "-o", folder / "by-command", "-m", model, "--json"]
    done = CliRunner().invoke(cli.main, [str(word) for word in arguments])

    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert run.count == len(reports) == 3
    assert [report.source for report in reports] == [record["input"] for record in records]
    assert [report.error is None for report in reports] == [True, True, False]
    for place in ("a.png", "below/b.png"):
        made = (folder / "out" / place).read_bytes()
        assert made == (folder / "by-command" / place).read_bytes()
    assert reports[1].target == str(folder / "out/below/b.png")
    assert all(r.skipped for r in cutout_files(folder / "in/a.png", folder / "out", model=model,
                                               skip_existing=True))  # fmt: skip


def test_what_can_not_be_planned_is_reported_and_has_no_place(folder, model):
    first, second = cutout_files([folder / "empty", folder / "in/a.png"], folder / "out",
                                 model=model)  # fmt: skip

    assert isinstance(first.error, ImageError)
    assert (first.source, first.target) == (str(folder / "empty"), None)
    assert first.as_record()["target"] is None
    assert second.error is None


def test_an_encoding_says_the_format_and_so_does_an_output(folder, model):
    (folded,) = cutout_files(folder / "in/a.png", folder / "out", model=model,
                             encoding=Encoding("webp", quality=90))  # fmt: skip
    (named,) = cutout_files(folder / "in/a.png", folder / "b.tif", model=model)

    for report, kind in ((folded, "WEBP"), (named, "TIFF")):
        with Image.open(report.target) as image:
            assert image.format == kind


def test_a_run_that_is_stopped_finishes_what_is_in_hand(folder, model, picture):
    for number in range(40):
        Image.fromarray(picture).save(folder / "in" / f"more{number:02}.png")

    run = cutout_files(folder / "in", folder / "out", model=model, threads=1)
    reports = []
    for report in run:
        reports.append(report)
        run.stop()

    assert run.count == 43
    assert 1 <= len(reports) < 10
    made = {str(path) for path in (folder / "out").rglob("*") if path.is_file()}
    assert made == {report.target for report in reports}


class Waiting:
    """A session whose runs wait until they are interrupted."""

    def __init__(self, session):
        self._session, self.runs, self.interrupted = session, threading.Event(), threading.Event()
        self.get_inputs, self.get_outputs = session.get_inputs, session.get_outputs
        self.get_modelmeta = session.get_modelmeta

    def run(self, *_):
        self.runs.set()
        assert self.interrupted.wait(60)
        raise Interrupted

    def interrupt(self):
        self.interrupted.set()


@pytest.mark.parametrize("suffix", ["png", "webp"], ids=["pictures", "an animation"])
def test_an_interrupt_ends_a_run_that_is_under_way(folder, model, picture, suffix):
    import onnxruntime

    frames = [Image.fromarray(picture), Image.fromarray(np.flip(picture, 0))]
    place = folder / f"in/a.{suffix}"
    frames[0].save(place, save_all=suffix == "webp", append_images=frames[1:])
    session = Waiting(onnxruntime.InferenceSession(model))
    run = cutout_files(folder / "in", folder / "out", model=Segmenter.from_session(session),
                       all_frames=True, encoding=Encoding("webp"))  # fmt: skip
    thread = threading.Thread(target=lambda: session.runs.wait(60) and run.interrupt())
    thread.start()

    with pytest.raises(Interrupted):
        list(run)
    thread.join()

    assert not [path for path in (folder / "out").rglob("*") if path.is_file()]


def test_a_model_that_was_handed_in_stays_open(folder, model):
    segmenter = Segmenter(model)
    with cutout_files(folder / "in", folder / "out", model=segmenter) as run:
        next(run)
    assert segmenter(np.zeros((8, 8, 3), np.uint8)).shape == (8, 8)

    with cutout_files(folder / "in", folder / "out", model=model) as run:
        next(run)
    assert "closed" in repr(run._cutter.segmenter)


def test_what_can_not_be_meant_is_refused_before_anything_is_opened(folder, tmp_path):
    photo = tmp_path / "in/a.png"
    segmenter = Segmenter.__new__(Segmenter)
    for wrong, error, named in (
        ({"inputs": []}, ImageError, "files or folders"),
        ({"model": segmenter, "threads": 2}, TypeError, "threads"),
        ({"batch": 2, "max_memory": "1GB"}, TypeError, "batch"),
        ({"encoding": Encoding("jpeg")}, OutputError, "background"),
        ({"style": Style(depth=16), "encoding": Encoding("webp")}, OutputError, "16"),
        ({"relative_to": tmp_path / "elsewhere", "output": "b.png"}, OutputError, "directory"),
    ):
        with pytest.raises(error, match=named):
            cutout_files(**{"inputs": photo, "output": tmp_path / "out", "model": "no", **wrong})
