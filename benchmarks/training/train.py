"""Train nano from scratch on composites: `python train.py DATA RUN --minutes 120`.

Resumable: started again with the same RUN folder it goes on from the last checkpoint. The schedule
follows the clock, not a step count, because the machine's speed is not known beforehand. Writes
`RUN/log.jsonl` (one JSON object a line), `RUN/checkpoint.pt` (everything to go on from) and
`RUN/model.safetensors` (averaged weights, upstream's names).
"""

import argparse
import json
import math
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from composite import Composer
from data import Pixels
from evaluate import composite_iou, photograph_ious, torch_predictor
from muon import Muon, suits
from network import TrainingNet, normalized
from safetensors.torch import save_file
from torch import Tensor
from torch.multiprocessing.spawn import spawn

SIDE_WEIGHT = 0.3
EMA_DECAY = 0.998
PROCESSES = 2
SAVE_EVERY_S = 240
KEPT = 384
Sample = tuple[Pixels, Pixels]


@dataclass(frozen=True)
class Settings:
    """What a run is told on the command line."""

    data: Path
    run: Path
    minutes: float
    sizes: tuple[tuple[int, float], ...]
    batch: int
    rate: float
    seed: int

    def size_at(self, share: float) -> int:
        """Side of the training images once `share` of the time has passed."""
        return next((size for size, until in self.sizes if share < until), self.sizes[-1][0])

    def rate_at(self, share: float, step: int) -> float:
        """Learning rate: linear warm-up, then a cosine down to 2 % of the peak."""
        warm = min(1.0, (step + 1) / 200)
        return self.rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(share, 1))))


class Batches:
    """Endless batches; half of each is new, half was kept and is seen again changed."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.composer = Composer(settings.data, held_out=False, seed=seed)
        self.rng = np.random.default_rng(seed)
        self.kept: list[Sample] = []
        self.size = 0

    def draw(self, size: int, count: int) -> Sample:
        """uint8 (count, size, size, 3) images and (count, size, size) alphas."""
        if size != self.size:
            self.size, self.kept = size, []
        batch = [self.one(place % 2 == 0) for place in range(count)]
        images, alphas = zip(*batch, strict=True)
        return np.stack(images), np.stack(alphas)

    def one(self, new: bool) -> Sample:
        """A new sample, or one that was kept."""
        if not new and len(self.kept) > 64:
            return again(self.rng, *self.kept[int(self.rng.integers(len(self.kept)))])
        sample = self.composer.sample(self.size)
        if len(self.kept) < KEPT:
            self.kept.append(sample)
        else:
            self.kept[int(self.rng.integers(KEPT))] = sample
        return sample


def again(rng: np.random.Generator, image: Pixels, alpha: Pixels) -> Sample:
    """A sample seen before, cropped, mirrored and lit anew."""
    size = len(alpha)
    side = int(size * rng.uniform(0.7, 1))
    top, left = rng.integers(0, size - side + 1, 2)
    step = int(rng.choice([-1, 1]))
    window = (slice(top, top + side), slice(left, left + side))
    seen = np.asarray(cv2.resize(image[window], (size, size)))[:, ::step]
    cut = np.asarray(cv2.resize(alpha[window], (size, size)), dtype=np.uint8)[:, ::step]
    light = seen * rng.uniform(0.75, 1.25, 3) ** rng.uniform(0, 1) + rng.normal(0, 12)
    return np.clip(light, 0, 255).astype(np.uint8), cut


def loss_of(outputs: list[Tensor], alpha: Tensor) -> Tensor:
    """Cross-entropy and soft IoU of the logits, cross-entropy of the side heads' logits."""
    *sides, logits = (x.float() for x in outputs)
    total = F.binary_cross_entropy_with_logits(logits, alpha)
    mask = logits.sigmoid()
    both = (mask * alpha).sum((1, 2, 3))
    either = (mask + alpha - mask * alpha).sum((1, 2, 3))
    total = total + (1 - (both + 1) / (either + 1)).mean()
    for side in sides:
        goal = F.interpolate(alpha, size=side.shape[2:], mode="area")
        total = total + SIDE_WEIGHT * F.binary_cross_entropy_with_logits(side, goal)
    return total


class Trainer:
    """A model, its average and its optimizer, with the clock that the schedule follows."""

    def __init__(self, settings: Settings) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.model = TrainingNet()
        self.average = {key: value.clone() for key, value in self.model.state_dict().items()}
        named = list(self.model.named_parameters())
        hidden = [param for name, param in named if suits(name, param)]
        others = [param for name, param in named if not suits(name, param)]
        self.optimizers: list[torch.optim.Optimizer] = [
            Muon(hidden, settings.rate, weight_decay=0.03),
            torch.optim.AdamW(others, settings.rate, weight_decay=0, fused=True),
        ]
        self.step, self.elapsed_s, self.images = 0, 0.0, 0
        self.checkpoint = settings.run / "checkpoint.pt"
        if self.checkpoint.exists():
            self.restore()
        self.started = time.monotonic() - self.elapsed_s

    def restore(self) -> None:
        """Go on from the last checkpoint."""
        state = torch.load(self.checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.elapsed_s, self.images = state["step"], state["elapsed_s"], state["images"]

    @property
    def share(self) -> float:
        """How much of the time has passed."""
        return self.elapsed_s / (60 * self.settings.minutes)

    def train_batch(self, images: Pixels, alphas: Pixels) -> float:
        """One optimizer step, the same in every process; returns this process's loss."""
        rate = self.settings.rate_at(self.share, self.step)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        alpha = torch.from_numpy(alphas).float()[:, None] / 255
        with torch.autocast("cpu", torch.bfloat16):
            outputs = self.model(normalized(torch.from_numpy(images)))
        loss = loss_of(outputs, alpha)
        self.model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.share_gradients()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self.images += len(images) * PROCESSES
        self.accumulate()
        return float(loss.detach())

    def share_gradients(self) -> None:
        """Average the gradients over the processes; the first one's clock is everybody's."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        now = self.now_s() if dist.get_rank() == 0 else 0.0
        flat = torch.cat([*(g.flatten() for g in gradients), torch.tensor([now])])
        dist.all_reduce(flat)
        self.elapsed_s = float(flat[-1])
        start = 0
        for gradient in gradients:
            part = flat[start : start + gradient.numel()]
            gradient.copy_(part.view_as(gradient) / PROCESSES)
            start += gradient.numel()

    def now_s(self) -> float:
        """Seconds of training until now, earlier runs included."""
        return time.monotonic() - self.started

    def accumulate(self) -> None:
        """Move the averaged weights toward the current ones."""
        amount = 1 - min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        current = self.model.state_dict()
        floats = [key for key, value in current.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [self.average[key] for key in floats], [current[key] for key in floats], amount
        )

    def save(self, **measured: float) -> None:
        """Write the checkpoint, the averaged weights and a line of the log."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "images": self.images,
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.rename(self.checkpoint)
        weights = {k[4:]: v for k, v in self.average.items() if k.startswith("net.")}
        save_file(weights, self.settings.run / "model.safetensors")
        line = {"step": self.step, "images": self.images, "elapsed_s": round(self.elapsed_s)}
        text = json.dumps(line | {key: round(value, 4) for key, value in measured.items()})
        with (self.settings.run / "log.jsonl").open("a") as log:
            log.write(text + "\n")
        print(text, flush=True)

    def scores(self, size: int) -> dict[str, float]:
        """Mean IoU of the averaged weights on held-out composites and on real photographs."""
        judge = TrainingNet()
        judge.load_state_dict(self.average)
        judge.net.eval()
        predict, data = torch_predictor(judge.net, size), self.settings.data
        return {
            "composites": composite_iou(predict, data, size, count=96),
            "plain": composite_iou(predict, data, size, count=96, plain=True),
            "photographs": float(np.mean(list(photograph_ious(predict, data).values()))),
        }


def work(rank: int, settings: Settings, meeting: str) -> None:
    """One of the processes that train together: two single threads beat one pair of threads."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=PROCESSES)
    trainer = Trainer(settings)
    batches = Batches(settings, settings.seed + 1000 * rank + trainer.step)
    losses: deque[float] = deque(maxlen=100)
    saved_s = trainer.elapsed_s
    while trainer.share < 1:
        size = settings.size_at(trainer.share)
        count = max(4, round(settings.batch * (128 / size) ** 1.5))
        losses.append(trainer.train_batch(*batches.draw(size, count)))
        if rank == 0 and trainer.step % 100 == 0:
            print(trainer.step, round(trainer.elapsed_s), np.mean(losses), flush=True)
        if rank == 0 and trainer.elapsed_s - saved_s > SAVE_EVERY_S:
            trainer.save(size=size, loss=float(np.mean(losses)), **trainer.scores(size))
            saved_s = trainer.elapsed_s
    if rank == 0:
        trainer.save(size=size, **trainer.scores(size))


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder that sources.py and data.py filled")
    parser.add_argument("run", type=Path, help="folder for checkpoints and the log")
    parser.add_argument("--minutes", type=float, default=120, help="length of the schedule")
    parser.add_argument("--sizes", default="128:0.85,192:1", help="side:until what share of time")
    parser.add_argument("--batch", type=int, default=16, help="images a step and process at 128²")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    pairs = (phase.split(":") for phase in given.sizes.split(","))
    sizes = tuple((int(size), float(until)) for size, until in pairs)
    settings = Settings(
        given.data, given.run, given.minutes, sizes, given.batch, given.rate, given.seed
    )
    given.run.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        spawn(work, (settings, f"file://{folder}/meeting"), PROCESSES)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
