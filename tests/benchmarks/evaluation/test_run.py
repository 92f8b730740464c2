import dataclasses

import numpy as np
import pytest
from birefnet_benchmarks.evaluation import run
from birefnet_benchmarks.evaluation.dataset import find_dataset
from birefnet_benchmarks.evaluation.quality import Tally
from birefnet_benchmarks.evaluation.run import Evaluation, Evaluator
from birefnet_runtime import ModelError, Segmenter
from PIL import Image

from ..conftest import SIDE, write_pair


@pytest.fixture(scope="module")
def segmenter(brightness):
    return Segmenter(brightness)


@pytest.fixture
def folder(tmp_path):
    for name, seen in (("a", 1.0), ("b", 0.25), ("c", 0.5), ("d", 0.75)):
        write_pair(tmp_path, name, seen)
    return tmp_path


def evaluate(folder, segmenter, **options):
    dataset = find_dataset(folder)
    evaluation = Evaluation(dataset.subsets, **options)
    for result in Evaluator(segmenter, pictures=True).score(dataset.samples):
        evaluation.add(result)
    return evaluation


def test_each_image_has_the_scores_of_its_mask(folder, segmenter):
    evaluation = evaluate(folder, segmenter)

    ious = {each.sample.name: each.scores["iou"] for each in evaluation.results}
    assert ious == {"a": 1, "b": 0.25, "c": 0.5, "d": 0.75}
    assert evaluation.overall.scores()["iou"] == pytest.approx(2.5 / 4)
    first = evaluation.results[0]
    assert (first.image_size, first.model_size, first.levels) == ((64, 64), (64, 64), (0, 255))
    assert evaluation.model_size() == (SIDE, SIDE)


def test_the_worst_are_kept_and_come_in_order(folder, segmenter):
    worst = evaluate(folder, segmenter, worst=2).worst()

    assert [case.title.rpartition("/")[2] for case in worst] == ["b", "c"]
    assert "IoU 0.250" in worst[0].scores
    assert evaluate(folder, segmenter, worst=0).worst() == []


def test_of_equally_bad_ones_the_first_are_the_worst(tmp_path, segmenter):
    for name in "abc":
        write_pair(tmp_path, name, 0.5)

    worst = evaluate(tmp_path, segmenter, worst=2).worst()

    assert [row.title.rpartition("/")[2] for row in worst] == ["a", "b"]


def test_masks_are_rounded_to_eight_bits(folder, brightness, monkeypatch):
    faint = Segmenter(brightness)
    alpha = np.full((SIDE, SIDE), 1.6 / 255, np.float32)
    alpha[20:40] = 254.6 / 255
    monkeypatch.setattr(faint, "finish", lambda prepared, logits: alpha)

    assert [result.levels for result in evaluate(folder, faint).results] == [(2, 255)] * 4


def test_scoring_weighs_more_than_the_pixels(folder, segmenter, monkeypatch):
    seen = {}

    def remember(samples, *stages, weigh, capacity, **options):
        seen.update(weights=list(map(weigh, samples)), capacity=capacity)
        return iter(())

    monkeypatch.setattr(run, "overlap", remember)

    assert evaluate(folder, segmenter).results == []
    assert seen["weights"] == [55 * SIDE * SIDE] * 4
    assert seen["capacity"] == run.CAPACITY
    with Segmenter("nano", max_memory=1e9) as limited:
        assert evaluate(folder, limited).results == []
        assert 0 < seen["capacity"] == limited.memory_left < 1e9


def test_pictures_and_curves_are_not_kept(folder, segmenter):
    results = evaluate(folder, segmenter, worst=1).results

    assert [result.sample.name for result in results] == ["a", "b", "c", "d"]
    assert [result.scores["iou"] for result in results] == [1, 0.25, 0.5, 0.75]
    assert [(result.tally, result.row) for result in results] == [(None, None)] * 4


def test_an_image_that_fails_leaves_the_others_alone(folder, segmenter):
    (folder / "im" / "a.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((SIDE, SIDE + 1), np.uint8)).save(folder / "gt" / "b.png")
    edge = np.zeros((SIDE, SIDE), np.uint8)
    edge[-1] = 255
    Image.fromarray(edge).save(folder / "gt" / "c.png")

    evaluation = evaluate(folder, segmenter)

    damaged, unlike, unscorable = (str(each.error) for each in evaluation.failures)
    assert damaged.startswith(f"{folder / 'im' / 'a.png'}: not an image")
    assert unlike == (
        f"{folder / 'gt' / 'b.png'}: the mask is 64x65, "
        f"and the image {folder / 'im' / 'b.png'} is 64x64"
    )
    assert unscorable.startswith(f"{folder / 'gt' / 'c.png'}: the subject's center")
    assert evaluation.overall.images == 1
    assert evaluation.model_size() == (SIDE, SIDE)  # of those that ran
    rows = list(evaluation.rows())
    assert [row["error"] for row in rows] == [damaged, unlike, unscorable, ""]
    assert "iou" not in rows[0]


def test_a_run_that_fails_is_a_result_too(folder, brightness, monkeypatch):
    broken = Segmenter(brightness)

    def fail(tensors):
        raise ModelError("no more")

    monkeypatch.setattr(broken, "run", fail)

    assert [str(each.error) for each in evaluate(folder, broken).results] == ["no more"] * 4


def test_the_images_own_opacity_counts(folder, segmenter):
    with Image.open(folder / "im" / "a.png") as image:
        gray = image.convert("L")
    half = gray.point(lambda level: 255)
    half.paste(0, (0, 0, SIDE, SIDE // 2))
    Image.merge("LA", [gray, half]).save(folder / "im" / "a.png")

    result = evaluate(folder, segmenter).results[0]

    assert result.scores["iou"] == 0.5


def test_it_stops_when_it_is_told_to(folder, segmenter, monkeypatch):
    runs = []
    run = segmenter.run
    monkeypatch.setattr(segmenter, "run", lambda tensors: runs.append(1) or run(tensors))
    pairs = find_dataset(folder).samples

    results = list(Evaluator(segmenter).score(pairs, stopped=lambda: len(runs) == 2))

    assert [result.sample.name for result in results] == ["a", "b"]


def test_parts_are_added_up_for_themselves(tmp_path, segmenter):
    write_pair(tmp_path / "one", "a", 0.25)
    write_pair(tmp_path / "one", "b", 0.75)
    write_pair(tmp_path / "two", "a", 1.0)

    evaluation = evaluate(tmp_path, segmenter)

    ious = {name: tally.scores()["iou"] for name, tally in evaluation.parts.items()}
    assert ious == {"one": 0.5, "two": 1}
    assert evaluation.overall.scores()["iou"] == pytest.approx(2 / 3)


def test_sizes_that_differ_are_no_size(tmp_path, brightness):
    write_pair(tmp_path, "a")
    write_pair(tmp_path, "b")
    for kind in ("im", "gt"):
        with Image.open(tmp_path / kind / "b.png") as image:
            image.resize((SIDE, SIDE // 2)).save(tmp_path / kind / "b.png")

    evaluation = evaluate(tmp_path, Segmenter(brightness, size="auto"))

    assert evaluation.model_size() is None
    assert evaluation.overall.images == 2


def test_a_tally_names_all_that_it_merges():
    """A list of the library's that `merge` forgets would be averaged over too few images."""
    tally = Tally(efforts=True)
    square = np.zeros((40, 60), np.uint8)
    square[10:30, 10:30] = 255
    tally.add(square, square)
    held = [getattr(tally, each.name) for each in dataclasses.fields(tally)]
    lists = [held for held in held if isinstance(held, list)]
    for each in held:
        if type(each).__module__.startswith("py_sod_metrics"):
            lists += [value for value in vars(each).values() if isinstance(value, list)]

    assert {id(each) for each in lists} == {id(each) for each in tally._lists()}
