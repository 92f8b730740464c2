import io
import os
import sys
import threading

import numpy as np
import pytest
from birefnet_apps.files import cutter as module
from birefnet_apps.files import steps
from birefnet_apps.files.cutter import FileCutter, check_style
from birefnet_apps.files.jobs import Job
from birefnet_apps.storage import STANDARD_STREAM
from birefnet_runtime import Blur, Canvas, ImageError, ModelError, OutputError, Segmenter, Style
from birefnet_runtime.cutout.memory import SLACK_BYTES
from birefnet_runtime.images.write import JPEG, PNG, TIFF, WEBP, Encoding
from PIL import Image

from ...conftest import FACTS


@pytest.fixture
def jobs(tmp_path, picture):
    """Four images, the second of them damaged, the last black."""
    made = []
    for name in "abcd":
        path = tmp_path / f"{name}.png"
        Image.fromarray(picture if name != "d" else picture * 0).save(path)
        made.append(Job(path, tmp_path / "out" / f"{name}.png"))
    (tmp_path / "b.png").write_bytes(b"damaged")
    return made


@pytest.mark.parametrize("batch", [1, 3])
def test_each_job_has_its_report_in_order(model, jobs, batch):
    reports = list(FileCutter(Segmenter(model), batch=batch).cut_out(jobs))

    assert [report.job for report in reports] == jobs
    assert [report.error is None for report in reports] == [True, False, True, True]
    first, last = reports[0], reports[-1]
    assert first.image_size == (48, 80)
    assert first.model_size == (64, 64)
    assert first.subject.found
    assert first.subject.box[0] == 0
    assert set(first.seconds) == {"read", "run", "compose", "write"}
    assert not last.subject.found
    for report in reports:
        assert report.job.target.exists() == (report.error is None)


def test_records_are_plain(model, jobs):
    done, failed, *_ = [report.as_record() for report in FileCutter(Segmenter(model)).cut_out(jobs)]

    assert done["input"] == str(jobs[0].source)
    assert done["output"] == str(jobs[0].target)
    assert done["found"] is True
    assert len(done["box"]) == 4
    assert 0.2 < done["share"] < 0.3
    assert failed["output"] is None
    assert "not an image" in failed["error"]


def test_what_is_there_is_skipped_without_being_read(model, jobs):
    jobs[1].target.parent.mkdir()
    jobs[1].target.write_bytes(b"there")  # its source is damaged, which nobody finds out

    reports = list(FileCutter(Segmenter(model), skip_existing=True).cut_out(jobs))

    assert [report.skipped for report in reports] == [False, True, False, False]
    assert reports[1].as_record()["skipped"] is True
    assert jobs[1].target.read_bytes() == b"there"


def test_once_stopped_files_in_hand_are_finished(model, jobs):
    done = []

    for report in FileCutter(Segmenter(model)).cut_out(jobs * 10, stopped=lambda: len(done) >= 2):
        done.append(report)

    assert 2 <= len(done) < 12
    left = {path.name for path in jobs[0].target.parent.iterdir()}
    assert all(not name.startswith(".") for name in left)


def test_a_model_that_fails_fails_its_files_and_no_others(model, jobs, monkeypatch):
    segmenter = Segmenter(model)

    def fail(tensors):
        if tensors:
            raise ModelError("no memory on the device")
        return []

    monkeypatch.setattr(segmenter, "run", fail)

    reports = list(FileCutter(segmenter).cut_out(jobs))

    failed = [report for report in reports if "device" in str(report.error)]
    assert len(failed) == 3
    for report in failed:
        assert str(report.error) == f"{report.job.name}: no memory on the device"


def test_a_place_that_cannot_be_written_is_a_report(model, jobs, tmp_path):
    (tmp_path / "out").write_bytes(b"a file")

    reports = list(FileCutter(Segmenter(model)).cut_out(jobs))

    assert len(reports) == 4
    assert [type(report.error) for report in reports] == [
        OutputError,
        ImageError,
        OutputError,
        OutputError,
    ]


@pytest.mark.parametrize("kind", [MemoryError, ZeroDivisionError, OverflowError])
@pytest.mark.parametrize("stage", ["prepare", "run", "finish"])
def test_trouble_with_one_file_is_that_files_report(model, jobs, monkeypatch, stage, kind):
    segmenter = Segmenter(model)
    real = getattr(segmenter, stage)
    calls = []

    def fail_first(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise kind("no")
        return real(*arguments)

    monkeypatch.setattr(segmenter, stage, fail_first)
    jobs = [jobs[0], *jobs[2:]]

    first, *others = FileCutter(segmenter, workers=1).cut_out(jobs)

    assert first.job == jobs[0]
    assert str(first.error).startswith(f"{jobs[0].source}: ")
    assert first.as_record()["input"] == str(jobs[0].source)
    assert [report.error for report in others] == [None, None]


def test_a_pipe_is_read_once(model, jobs, tmp_path):
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    content = jobs[0].source.read_bytes()
    writer = threading.Thread(target=lambda: pipe.write_bytes(content))
    writer.start()

    (report,) = FileCutter(Segmenter(model)).cut_out([Job(pipe, jobs[0].target)])

    writer.join()
    assert (report.error, report.image_size) == (None, (48, 80))


def test_an_empty_pipe_is_an_empty_file(model, jobs, tmp_path):
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(b""))
    writer.start()

    (report,) = FileCutter(Segmenter(model)).cut_out([Job(pipe, jobs[0].target)])

    writer.join()
    assert str(report.error) == f"{pipe}: the file is empty"


@pytest.mark.parametrize("skip", [True, False])
def test_what_is_there_stays_where_it_might_be_an_input(model, jobs, skip):
    job = Job(jobs[0].source, jobs[0].target, overwrite=False)
    job.target.parent.mkdir()
    job.target.write_bytes(b"there")

    (report,) = FileCutter(Segmenter(model), skip_existing=skip).cut_out([job])

    assert report.skipped
    assert job.target.read_bytes() == b"there"


def test_a_file_called_minus_is_no_result_on_standard_output(model, jobs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").write_bytes(b"there")
    stream = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", stream)

    (report,) = FileCutter(Segmenter(model), skip_existing=True).cut_out(
        [Job(jobs[0].source, STANDARD_STREAM)]
    )

    assert not report.skipped
    with Image.open(stream.buffer) as cut:
        assert cut.size == (80, 48)


def test_a_picture_that_cannot_fit_is_not_decoded(model, jobs, monkeypatch):
    segmenter = Segmenter(model)
    segmenter.memory_left = 1e6

    def decode(*_):
        raise AssertionError("not to be decoded")

    monkeypatch.setattr(steps, "decode", decode)

    (report,) = FileCutter(segmenter).cut_out(jobs[:1])

    assert "80 x 48 pixels take up to " in str(report.error)
    assert "the memory limit leaves 1 MB" in str(report.error)


def test_no_more_is_under_way_than_the_limit_leaves(model, jobs, monkeypatch):
    segmenter = Segmenter(model)
    segmenter.memory_left = 100e6
    seen = []
    real = module.overlap

    def overlap(items, *stages, **options):
        seen.append(options["capacity"])
        return real(items, *stages, **options)

    monkeypatch.setattr(module, "overlap", overlap)

    reports = list(FileCutter(segmenter).cut_out([*jobs, *jobs]))

    assert seen == [100e6 - SLACK_BYTES]
    assert [report.error is None for report in reports] == [True, False, True, True] * 2


def test_larger_pictures_are_read_on_request(model, jobs, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)

    for max_pixels, says in ((None, "too large"), (3000, "too large"), (4000, None)):
        cutter = FileCutter(Segmenter(model), max_pixels=max_pixels)
        (report,) = cutter.cut_out(jobs[:1])
        assert (says is None) == (report.error is None), report.error
        assert says is None or says in str(report.error)


def test_the_models_size_is_height_and_width(make_model, jobs):
    facts = FACTS | {"birefnet.trained_size": "64x96"}

    (report,) = FileCutter(Segmenter(make_model(facts=facts))).cut_out(jobs[:1])

    assert report.model_size == (64, 96)


@pytest.mark.parametrize("encoding", [Encoding(WEBP), Encoding(TIFF), Encoding(JPEG)])
def test_other_formats(model, jobs, encoding):
    job = Job(jobs[0].source, jobs[0].target.with_suffix(encoding.format.suffixes[0]))
    style = Style(mask=encoding.format is JPEG)

    (report,) = FileCutter(Segmenter(model), style, encoding).cut_out([job])

    assert report.error is None
    with Image.open(job.target) as opened:
        assert opened.format == encoding.format.name.upper()
        assert np.asarray(opened).shape[:2] == (48, 80)


def test_a_canvas_is_as_small_as_pictures_have_to_be(model, jobs):
    """An aspect's is bounded by what it is if all of the picture, 80 x 48, is subject."""
    for layout, largest in ((Canvas((50, 90)), 4500), (Canvas(1.0), 89 * 89)):
        for limit in (largest, largest - 1):
            cutter = FileCutter(Segmenter(model), Style(layout=layout), max_pixels=limit)
            (report,) = cutter.cut_out(jobs[:1])

            assert (report.error is None) == (limit == largest)
    assert "a.png: its canvas may have 0.007921 megapixels, more than 0.00792; " in str(
        report.error
    )


def test_what_can_be_written_passes():
    for style in (Style(background=Blur()), Style(mask=True)):
        check_style(style, Encoding(JPEG))
    check_style(Style(depth=16, premultiply=True), Encoding(TIFF))


@pytest.mark.parametrize(
    ("style", "form", "says"),
    [
        (Style(), JPEG, "JPEG has no transparency"),
        (Style(depth=16), WEBP, "WEBP holds 8 bits a channel, not 16"),
        (Style(premultiply=True, mask=True), PNG, "only a transparent cutout"),
        (Style(premultiply=True, background=Blur()), PNG, "only a transparent cutout"),
        (Style(layout=Canvas(1.0), crop=0), PNG, "a frame of its own"),
    ],
)
def test_what_cannot_be_written_is_known_before_any_work(style, form, says):
    with pytest.raises(OutputError, match=says):
        check_style(style, Encoding(form))


def test_a_result_of_another_file_is_neither_overwritten_nor_taken_for_ones_own(
    model, jobs, tmp_path, picture
):
    """Two lists in turn: x/1.png, then y/1.png."""
    for name, pixels in (("x", picture), ("y", picture[:, ::-1])):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "1.png")
    target = tmp_path / "out" / "1.png"
    first, second = (Job(tmp_path / name / "1.png", target) for name in "xy")
    (report,) = FileCutter(Segmenter(model)).cut_out([first])
    assert report.error is None
    before = target.read_bytes()

    for skip in (False, True):
        (report,) = FileCutter(Segmenter(model), skip_existing=skip).cut_out([second])
        assert isinstance(report.error, OutputError)
        assert not report.skipped
        assert str(tmp_path / "y" / "1.png") in str(report.error)
        assert "--relative-to" in str(report.error)
    assert target.read_bytes() == before
    (report,) = FileCutter(Segmenter(model), skip_existing=True).cut_out([first])
    assert report.skipped


def test_a_file_that_was_moved_is_known_again(model, jobs, tmp_path):
    (job, *_) = jobs
    list(FileCutter(Segmenter(model)).cut_out([job]))
    moved = job.source.rename(tmp_path / "moved.png")

    (report,) = FileCutter(Segmenter(model), skip_existing=True).cut_out([Job(moved, job.target)])

    assert report.skipped


def test_a_target_that_was_typed_is_overwritten_and_skipped_for_its_own_input_alone(model, jobs):
    (first, _, second, _) = jobs
    Image.fromarray(255 - np.asarray(Image.open(second.source))).save(second.source)
    explicit = [Job(job.source, first.target, explicit=True) for job in (first, second)]
    list(FileCutter(Segmenter(model)).cut_out(explicit[:1]))
    before = first.target.read_bytes()

    (report,) = FileCutter(Segmenter(model), skip_existing=True).cut_out(explicit[1:])

    assert (report.error, report.skipped) == (None, False)
    assert first.target.read_bytes() != before
