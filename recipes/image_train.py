"""Train the residual of the image tower on cached features, in the loop of `multimodal train`.

Here are what learns (`Learner`), what it learns from and the settings; batches, loss, rate, running mean of
the weights and checkpoint are those of `multimodal.training.loop`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from multimodal.towers.image_module import (
    CHANNELS,
    STAGE_MEANS,
    Residual,
    ResidualSizes,
    StarterImageModule,
)
from multimodal.training import loop
from multimodal.training.data import Data, Kind
from multimodal.training.settings import Settings
from multimodal.types import Modality
from recipes.image_classes import class_vectors
from recipes.image_data import Labelled, Rows
from recipes.image_features import pretrained_backbone

BATCH = 512
EPOCH = 50
"""Steps in an epoch of pairs drawn by weight."""
SETTINGS = Settings(
    parts=("head.image",),
    epochs=9,
    batch=BATCH,
    drawn=EPOCH * BATCH,
    rate=1e-3,
    warmup=0.13,
    decay=0.05,
    alike=0.8,
    pull=1.0,
    hard=0,
    hold=16.0,  # 1 - cosine to ConSE, on photos and on photos made clear
    average=0.995,
    device="cpu",
)
"""What the runs on validation stamps chose; README.md states what each was tried against."""


@dataclass(frozen=True)
class Tower:
    """The parts of the recipe that are not the loop's."""

    sizes: ResidualSizes = field(default_factory=lambda: ResidualSizes(dropout=0.25))
    temperature: float = 0.07
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
    """Standard deviation of the factor on each channel."""
    seed: int = 0
    """Of the first weights; `Settings.seed` is that of the order in which pictures are shown."""


class Learner(nn.Module):
    """The residual of a tower; the interface is that of `multimodal.training.heads.Heads`.

    Texts are wordings, frozen; a picture is one of its rows of features, drawn anew each time, in training,
    and the first of them, the picture as it is, otherwise.
    """

    block = 512

    def __init__(self, module: StarterImageModule, data: Labelled, photos: Rows, tower: Tower) -> None:
        super().__init__()
        self.residual, self.frozen = module.residual, (module,)  # a tuple: its weights are no state of ours
        self.data, self.photos, self.tower = data, photos, tower
        self.texts = torch.from_numpy(data.texts)
        self.order = np.argsort(data.rows.item, kind="stable")
        self.counts = np.bincount(data.rows.item, minlength=len(data.pictures))
        self.starts = np.cumsum(self.counts) - self.counts
        self.conse, self.conse_photos = conse(module, data.rows), conse(module, photos)  # once is enough
        self.scale, self.bias = torch.tensor(1 / tower.temperature), torch.tensor(0.0)

    def count(self, modality: Modality) -> int:
        """Of wordings or pictures."""
        return len(self.texts) if modality == "text" else len(self.counts)

    def embed(self, modality: Modality, places: NDArray[np.int64]) -> Tensor:
        """Unit rows (n, 384) of wordings or pictures."""
        if modality == "text":
            return self.texts[torch.from_numpy(places)]
        within = torch.rand(len(places)).numpy() * self.counts[places] if self.training else 0
        rows = self.order[self.starts[places] + np.asarray(within, np.int64)]
        seen, means = _tensors(self.data.rows, rows)
        return self._unit(self._noisy(seen), means, self.conse[torch.from_numpy(rows)])

    def moved(self, rng: np.random.Generator, count: int) -> Tensor:
        """Mean of 1 - cosine to ConSE of `count` photos and of as many made clear from them."""
        drawn = rng.choice(len(self.photos.item), count)
        seen, means = _tensors(self.photos, drawn)
        seen = self._noisy(seen)
        clear = _cleared(self.frozen[0], seen, self.tower, rng)
        with torch.no_grad():
            mixed = torch.cat([self.conse_photos[torch.from_numpy(drawn)], self.frozen[0].conse(clear)])
        rows = self._unit(torch.cat([seen, clear]), torch.cat([means, means]), mixed)
        return 1 - (rows * F.normalize(mixed, dim=-1)).sum(1).mean()

    def groups(self, decay: float) -> list[dict[str, Any]]:
        """Parameters for the optimiser: matrices are drawn to zero, which is ConSE; biases are not."""
        matrices = [one for one in self.residual.parameters() if one.ndim > 1]
        others = [one for one in self.residual.parameters() if one.ndim < 2]
        return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]

    def _unit(self, places: Tensor, means: Tensor, mixed: Tensor) -> Tensor:
        return F.normalize(self.tower.strength * mixed + self.residual(places, means, mixed), dim=-1)

    def _noisy(self, places: Tensor) -> Tensor:
        if not (self.training and self.tower.noise):
            return places
        return places * (1 + self.tower.noise * torch.randn(len(places), 1, places.shape[2]))


def untrained(tower: Tower) -> StarterImageModule:
    """Frozen backbone, classifier and class vectors under a residual with fresh weights."""
    torch.manual_seed(tower.seed)
    module = StarterImageModule(tower.sizes)
    backbone, weight, bias = pretrained_backbone()
    module.backbone.load_state_dict(backbone.state_dict())
    with torch.no_grad():
        module.classifier.weight.copy_(weight)
        module.classifier.bias.copy_(bias)
        module.class_vectors.copy_(torch.from_numpy(class_vectors()))
        module.strength.fill_(tower.strength)
        module.sharpness.fill_(tower.sharpness)
        module.residual.out.weight.mul_(0.3)
        module.residual.out.bias.zero_()
    for part in (module.backbone, module.classifier):
        part.requires_grad_(False)
    module.class_vectors.requires_grad_(False)
    return module


def train(
    data: Labelled,
    photos: Rows,
    settings: Settings = SETTINGS,
    tower: Tower | None = None,
    kept: Path | None = None,
    listener: Callable[[dict[str, float]], object] | None = None,
) -> StarterImageModule:
    """The module with a trained residual, in evaluation mode; `kept` and `listener` are those of the loop.

    Raises SpaceError.
    """
    tower = tower or Tower()
    module = untrained(tower)
    _standardise(module, data)
    learner = Learner(module, data, photos, tower)
    loop.train(learner, pairs(data, tower.first_wording), settings, kept, listener)  # type: ignore[arg-type]
    module.strength.mul_(tower.surer)
    return module.eval()


def pairs(data: Labelled, first: float) -> Data:
    """Each wording with its picture, weighted by how often the picture is to be drawn and, with chance
    `first`, as its best caption."""
    counts = np.diff(data.begin)
    item = np.repeat(np.arange(len(counts)), counts)
    share = np.bincount(data.rows.item, weights=data.share, minlength=len(counts))
    weight = share[item] * (1 - first) / counts[item]
    said = counts > 0
    weight[data.begin[:-1][said]] += first * share[said]
    number = np.arange(len(item))
    split = np.zeros(len(item), np.int64)
    weight = (weight / weight.mean()).astype(np.float32)
    kind = Kind(("text", "image"), number, item, number, item, weight, split)
    return Data({"text": data.texts}, [kind], "pictures")


def joined(modules: list[StarterImageModule]) -> StarterImageModule:
    """One tower whose residual is the mean of those of several: as many times wider, the same function.

    Weights of trainings that began alike cannot be averaged here (README.md); what they say can.
    """
    first, parts = modules[0], [_plain(module.residual, modules[0].residual) for module in modules]
    heads, _, each = parts[0]["value"].shape
    hidden, count = len(parts[0]["hidden.bias"]), len(parts)
    module = StarterImageModule(
        ResidualSizes(len(parts[0]["out.bias"]), count * hidden, count * heads * each, count * heads)
    )
    wide = module.residual.state_dict()
    for name in ("query.weight", "query.bias", "value", "hidden.bias"):
        wide[name] = torch.cat([part[name] for part in parts])
    wide["out.weight"] = torch.cat([part["out.weight"] for part in parts], 1) / count
    wide["out.bias"] = torch.stack([part["out.bias"] for part in parts]).mean(0)
    rows = []
    for number, part in enumerate(parts):  # each hidden unit sees the pool of its own part alone
        average, pool, rest = part["hidden.weight"].tensor_split((CHANNELS, CHANNELS + heads * each), 1)
        pools = [pool if other == number else torch.zeros_like(pool) for other in range(count)]
        rows.append(torch.cat([average, *pools, rest], 1))
    wide["hidden.weight"] = torch.cat(rows)
    wide["mean_shift"], wide["mean_scale"] = first.residual.mean_shift, first.residual.mean_scale
    whole = {name: tensor for name, tensor in first.state_dict().items() if not name.startswith("residual.")}
    module.load_state_dict(whole | {f"residual.{name}": tensor for name, tensor in wide.items()})
    return module.eval()


def _plain(residual: Residual, like: Residual) -> dict[str, Tensor]:
    """The weights of a residual whose norm has no weights of its own and whose stage means are standardised
    as those of another: the layers behind take them in."""
    own = {name: tensor.clone() for name, tensor in residual.state_dict().items()}
    gain, bias = own["norm.weight"], own["norm.bias"]
    own["query.bias"] += own["query.weight"] @ bias
    own["query.weight"] *= gain
    pooled = (bias @ own["value"]).flatten()  # the weights of the places sum to one
    own["value"] *= gain[:, None]
    end = CHANNELS + len(pooled)
    average, pool, means = own["hidden.weight"][:, : end + STAGE_MEANS].tensor_split((CHANNELS, end), 1)
    moved = (like.mean_shift - residual.mean_shift) * residual.mean_scale
    own["hidden.bias"] += average @ bias + pool @ pooled + means @ moved
    average *= gain
    means *= residual.mean_scale / like.mean_scale
    return own


def _standardise(module: StarterImageModule, data: Labelled) -> None:
    sample = data.rows.means[:: max(1, len(data.rows.means) // 8192)].astype(np.float32)
    with torch.no_grad():
        module.residual.mean_shift.copy_(torch.from_numpy(sample.mean(0)))
        module.residual.mean_scale.copy_(torch.from_numpy(1 / (sample.std(0) + 1e-3)))


def _tensors(rows: Rows, at: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Places (n, 9, 1280) and stage means (n, 856) of some rows, float32."""
    return tuple(torch.from_numpy(values[at].astype(np.float32)) for values in (rows.places, rows.means))  # type: ignore[return-value]


def _cleared(module: StarterImageModule, places: Tensor, tower: Tower, rng: np.random.Generator) -> Tensor:
    """Photos' places (n, 9, 1280) moved along a random class's weights until the classifier is sure of it.

    There are few photos to learn from; these stand in for photos of all 1,000 classes: where the
    classifier is sure, the residual has nothing to add.
    """
    weight = module.classifier.weight
    classes = torch.from_numpy(rng.integers(0, len(weight), len(places)))
    toward = weight[classes] - weight.mean(0)
    logits = module.classifier(places.mean(1))
    behind = logits.max(1).values - logits.gather(1, classes[:, None])[:, 0]
    margin = torch.from_numpy(rng.uniform(0.0, tower.clearest, len(places)).astype(np.float32))
    step = (behind + margin) / (toward * toward).sum(1)
    where = torch.from_numpy(rng.uniform(0.2, 1.8, (len(places), places.shape[1], 1)).astype(np.float32))
    # half of what is added falls below zero or above six, which no feature does
    return (places + tower.overshoot * step[:, None, None] * toward[:, None] * where).clamp(0.0, 6.0)


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
