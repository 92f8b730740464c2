"""`birefnet evaluate`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING

import click
from birefnet_apps.cli.options import opening_options
from birefnet_apps.cli.terminal import STOPPED, interruptible, located, progress_bar, say
from birefnet_models.base.text import shortened
from birefnet_runtime import Segmenter
from birefnet_runtime.segmenter import Opening

from ..errors import DatasetError
from ..evaluation.dataset import Dataset, Sample, find_dataset, spread

if TYPE_CHECKING:
    from ..evaluation.run import Evaluation, Evaluator


@click.command(epilog="Example: birefnet evaluate lite --images DIS5K/DIS-VD --output scores")
@click.argument("model", metavar="MODEL")
@click.option(
    "--images",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of images, searched through. Without --masks: one that holds im/ and gt/, or "
    "several such folders, as DIS5K.",
)
@click.option(
    "--masks",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of masks: white is subject, and names are the images' but for the suffix.",
)
@click.option("--partial", is_flag=True, help="Leave out images without a mask, and masks alone.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    help="No more than N images, taken evenly from all.",
)
@opening_options
@click.option(
    "--hce",
    is_flag=True,
    help="Count human correction efforts, too: takes longer than all other metrics.",
)
@click.option(
    "--output",
    "-o",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write scores.csv (a line an image), summary.json and worst.png there; made if missing.",
)
@click.option(
    "--worst",
    metavar="N",
    type=click.IntRange(min=0),
    default=12,
    show_default=True,
    help="How many images worst.png shows, by S-measure.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def evaluate(
    model: str,
    images: Path,
    masks: Path | None,
    partial: bool,
    limit: int | None,
    opening: Opening,
    hce: bool,
    output: Path | None,
    worst: int,
    as_json: bool,
) -> None:
    """Score a model's masks against masks that are known. MODEL as `birefnet cutout` has it.

    S-measure, weighted F-measure, max F-measure, E-measure, MAE and IoU as PySODMetrics has them,
    fed as upstream's evaluation feeds them, and boundary IoU. Where the zoo knows published scores
    of the model on the data set at this size, they are printed beside. An image that fails gets a
    line and the others are still scored; the exit code is then 1.
    """
    from ..evaluation.results import score_table, summary, write_files
    from ..evaluation.run import Evaluation, Evaluator

    dataset = find_dataset(images, masks, partial=partial)
    samples = spread(dataset.samples, limit)
    _say_left_out(dataset)
    file = located(model)
    evaluation = Evaluation(dataset.subsets, worst, hce)
    with Segmenter(file, **opening) as segmenter:
        runs_on = segmenter.session_info.provider.name if segmenter.session_info else None
        evaluator = Evaluator(segmenter, hce, bool(output and worst))
        stopped = _score(evaluator, samples, evaluation)
    if not evaluation.overall.images:
        raise DatasetError(f"{images}: not one of {len(samples)} images could be scored")
    settings = {
        "images": str(images),
        "masks": None if masks is None else str(masks),
        "pairs": len(dataset.samples),
        "unmatched": len(dataset.unmatched),
        "limit": limit,
        "stopped": stopped,
        "size": opening["size"],
        "provider": runs_on,
        "threads": opening["threads"],
        "memory": opening["memory"],
    }
    stored = summary(model, file.path, evaluation, settings)
    if output is not None:
        write_files(output, stored, evaluation)
    click.echo(json.dumps(stored, indent=1) if as_json else "\n".join(score_table(stored)))
    _say_counts(evaluation, len(samples), output)
    if stopped or evaluation.failures:
        raise click.exceptions.Exit(STOPPED + SIGINT if stopped else 1)


def _say_left_out(dataset: Dataset) -> None:
    if dataset.training:
        say(f"{dataset.training} is for training and left out; name it to score it")
    if dataset.unmatched:
        files = shortened(map(str, dataset.unmatched), 3)
        say(f"left out without a counterpart: {len(dataset.unmatched)} ({files})")


def _score(evaluator: Evaluator, samples: Sequence[Sample], evaluation: Evaluation) -> bool:
    """Score the samples under a progress bar; whether Ctrl-C ended it early."""
    with interruptible() as stopped, progress_bar(len(samples)) as bar:
        task = bar.add_task("scoring", total=len(samples))
        for result in evaluator.score(samples, stopped=stopped):
            if result.error is not None:
                say(result.error)
            evaluation.add(result)
            bar.advance(task)
    return len(evaluation.results) < len(samples)


def _say_counts(evaluation: Evaluation, asked: int, output: Path | None) -> None:
    """Say what a reader of the scores should know, a line each."""
    tally = evaluation.overall
    line = f"{tally.images} of {asked} images scored"
    if evaluation.failures:
        line += f", {len(evaluation.failures)} failed"
    say(f"{line}: {output}" if output else line)
    if tally.empty:
        say(
            f"ground truths without a subject: {tally.empty}; there weighted F, F and IoU are 0, "
            "whatever the mask"
        )
    if tally.stretched:
        say(
            f"masks that span less than half of the levels: {tally.stretched}; stretched to all of "
            "them, as in upstream's evaluation, but for alpha MAE"
        )
