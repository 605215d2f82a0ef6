"""Train the residual of the image tower on cached features. One loop, read top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from multimodal.towers.image_module import ResidualSizes, StarterImageModule
from recipes.image_classes import class_vectors
from recipes.image_data import Labelled, Rows
from recipes.image_features import Half, pretrained_backbone


@dataclass(frozen=True)
class Settings:
    """What the runs on validation stamps chose; README.md states what each was tried against."""

    sizes: ResidualSizes = field(default_factory=lambda: ResidualSizes(dropout=0.25))
    steps: int = 450
    batch: int = 512
    photos: int = 64
    rate: float = 1e-3
    decay: float = 0.05
    temperature: float = 0.07
    alike: float = 0.8
    """Texts whose cosine is above this are no negatives of each other."""
    pull: float = 1.0
    """Weight of 1 - cosine to the caption."""
    anchor: float = 16.0
    """Weight of 1 - cosine to ConSE on photos and on photos made clear."""
    clearest: float = 10.0
    """Logits by which the class of a made-up clear photo leads at most."""
    overshoot: float = 1.6
    first_wording: float = 0.4
    """Chance that an item is drawn with its best caption rather than any."""
    strength: float = 2.0
    surer: float = 1.8
    """Factor on `strength` after training: photos keep their class, clip art loses little."""
    sharpness: float = 1.0
    noise: float = 0.05
    average: float = 0.995
    """Decay of the running mean of the weights, which is what is kept."""
    seed: int = 0


def untrained(settings: Settings) -> StarterImageModule:
    """Frozen backbone, classifier and class vectors under a residual with fresh weights."""
    torch.manual_seed(settings.seed)
    module = StarterImageModule(settings.sizes)
    backbone, weight, bias = pretrained_backbone()
    module.backbone.load_state_dict(backbone.state_dict())
    with torch.no_grad():
        module.classifier.weight.copy_(weight)
        module.classifier.bias.copy_(bias)
        module.class_vectors.copy_(torch.from_numpy(class_vectors()))
        module.strength.fill_(settings.strength)
        module.sharpness.fill_(settings.sharpness)
        module.residual.out.weight.mul_(0.3)
        module.residual.out.bias.zero_()
    for part in (module.backbone, module.classifier):
        part.requires_grad_(False)
    module.class_vectors.requires_grad_(False)
    return module


def train(
    data: Labelled,
    photos: Rows,
    settings: Settings,
    report: Callable[[int, StarterImageModule], None] | None = None,
) -> StarterImageModule:
    """The module with a trained residual: a contrastive loss over captions, drawn anew each step.

    `report(step, module)` sees the averaged weights every 200 steps.
    """
    module = untrained(settings)
    rng = np.random.default_rng(settings.seed)
    residual = module.residual
    _standardise(module, data)
    best = list(residual.parameters())
    optimiser = torch.optim.AdamW(best, lr=settings.rate, weight_decay=settings.decay, betas=(0.9, 0.98))
    averaged = torch.optim.swa_utils.AveragedModel(
        module, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(settings.average)
    )
    texts = torch.from_numpy(data.texts)
    mixed, mixed_photos = conse(module, data.rows), conse(module, photos)  # frozen: once is enough
    begun, running = time.time(), 0.0
    for step in range(settings.steps):
        warm = min(1.0, (step + 1) / 60)
        wave = 0.5 * (1 + math.cos(math.pi * step / settings.steps))
        optimiser.param_groups[0]["lr"] = settings.rate * warm * (0.02 + 0.98 * wave)

        rows = rng.choice(len(data.share), settings.batch, p=data.share)
        rows = rows[np.unique(data.rows.item[rows], return_index=True)[1]]  # one row an item
        text = texts[_wording(data, data.rows.item[rows], settings.first_wording, rng)]
        anchors = rng.choice(len(photos.item), settings.photos)
        places = _tensor(data.rows.places, rows, photos.places, anchors)
        means = _tensor(data.rows.means, rows, photos.means, anchors)
        if settings.noise:
            places = places * (1 + settings.noise * torch.randn(len(places), 1, places.shape[2]))

        module.train()
        clear = _cleared(module, places[len(rows) :], settings, rng)
        places, means = torch.cat([places, clear]), torch.cat([means, means[len(rows) :]])
        sure = torch.cat([mixed[rows], mixed_photos[anchors], module.conse(clear)])
        out = F.normalize(settings.strength * sure + residual(places, means, sure), dim=-1)
        image, photo = out[: len(rows)], out[len(rows) :]
        contrast = _contrast(image, text, settings)
        pull = (1 - (image * text).sum(1)).mean()
        anchor = (1 - (photo * F.normalize(sure[len(rows) :], dim=-1)).sum(1)).mean()
        loss = contrast + settings.pull * pull + settings.anchor * anchor
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(best, 1.0)
        optimiser.step()
        averaged.update_parameters(module)
        running += 0.02 * (float(loss) - running)
        if report and (step + 1) % 200 == 0:
            took = time.time() - begun
            print(
                f"step {step + 1}: {took:.0f} s, loss {running:.3f}, last contrast {float(contrast):.3f},"
                f" pull {float(pull):.3f}, anchor {float(anchor):.3f}",
                flush=True,
            )
            report(step + 1, averaged.module.eval())
    trained: StarterImageModule = averaged.module
    trained.strength.mul_(settings.surer)
    return trained.eval()


def _standardise(module: StarterImageModule, data: Labelled) -> None:
    sample = data.rows.means[:: max(1, len(data.rows.means) // 8192)].astype(np.float32)
    with torch.no_grad():
        module.residual.mean_shift.copy_(torch.from_numpy(sample.mean(0)))
        module.residual.mean_scale.copy_(torch.from_numpy(1 / (sample.std(0) + 1e-3)))


def _wording(
    data: Labelled, items: NDArray[np.int64], first: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Index of one text of each item: the best with chance `first`, else any."""
    begin, count = data.begin[items], data.begin[items + 1] - data.begin[items]
    any_of = (rng.random(len(items)) * count).astype(np.int64)
    chosen: NDArray[np.int64] = begin + np.where(rng.random(len(items)) < first, 0, any_of)
    return chosen


def _tensor(a: Half, rows: NDArray[np.int64], b: Half, more: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(np.concatenate([a[rows], b[more]]).astype(np.float32))


def _cleared(
    module: StarterImageModule, places: Tensor, settings: Settings, rng: np.random.Generator
) -> Tensor:
    """Photos' places (n, 9, 1280) moved along a random class's weights until the classifier is sure of it.

    There are few photos to learn from; these stand in for photos of all 1,000 classes: where the
    classifier is sure, the residual has nothing to add.
    """
    weight = module.classifier.weight
    classes = torch.from_numpy(rng.integers(0, len(weight), len(places)))
    toward = weight[classes] - weight.mean(0)
    logits = module.classifier(places.mean(1))
    behind = logits.max(1).values - logits.gather(1, classes[:, None])[:, 0]
    margin = torch.from_numpy(rng.uniform(0.0, settings.clearest, len(places)).astype(np.float32))
    step = (behind + margin) / (toward * toward).sum(1)
    where = torch.from_numpy(rng.uniform(0.2, 1.8, (len(places), places.shape[1], 1)).astype(np.float32))
    # half of what is added falls below zero or above six, which no feature does
    return (places + settings.overshoot * step[:, None, None] * toward[:, None] * where).clamp(0.0, 6.0)


def _contrast(image: Tensor, text: Tensor, settings: Settings) -> Tensor:
    """Both ways over the batch; pairs whose texts are alike are taken out of the denominator."""
    scores = image @ text.T / settings.temperature
    alike = text @ text.T > settings.alike
    alike.fill_diagonal_(False)
    scores = scores.masked_fill(alike, -1e4)
    target = torch.arange(len(image))
    return 0.5 * (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target))


def conse(module: StarterImageModule, rows: Rows, batch: int = 1024) -> Tensor:
    """ConSE's vectors (n, 384) of cached features, at their own lengths."""
    done = []
    with torch.inference_mode():
        for begin in range(0, len(rows.item), batch):
            done.append(module.conse(torch.from_numpy(rows.places[begin : begin + batch].astype(np.float32))))
    return torch.cat(done).clone()


def embed(module: StarterImageModule, rows: Rows, batch: int = 512) -> NDArray[np.float32]:
    """Unit rows (n, 384) of cached features."""
    done = []
    with torch.inference_mode():
        for begin in range(0, len(rows.item), batch):
            places = torch.from_numpy(rows.places[begin : begin + batch].astype(np.float32))
            means = torch.from_numpy(rows.means[begin : begin + batch].astype(np.float32))
            done.append(module.embed(places, means).numpy())
    return np.concatenate(done)
